"""A test client for tiltyard's battle protocol, written from docs/PROTOCOL.md alone."""
