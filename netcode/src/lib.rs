//! Battle tokens, encrypted sessions, KCP and datagram lanes, feeds.
