//! Recording of battles: write, read, verify.
