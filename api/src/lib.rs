//! Messages between client and gate.
