//! Node directory, placement, control messages.
