//! Battle node: workers, rooms, recording.
