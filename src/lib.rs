//! Tiltyard: a deterministic battle server.
