//! Gameplay events: what a tick tells besides state. Bounded, in order, never part of the state.
//!
//! They are for whoever computes the battle: a client with the frame feed draws by them, tests count them. No feed
//! carries them, and a snapshot does not bring them back; what a late client must know is state.

/// The most events one tick may tell; later ones are counted and dropped.
pub const EVENTS_MAX: usize = 4096;

/// The events of one tick; at most [`EVENTS_MAX`]. The buffer is kept from tick to tick.
#[derive(Debug)]
pub struct Events<E> {
    list: Vec<E>,
    dropped: u64,
}

impl<E> Default for Events<E> {
    fn default() -> Self {
        Self { list: Vec::new(), dropped: 0 }
    }
}

impl<E> Events<E> {
    /// Tells an event. The one above [`EVENTS_MAX`] is counted and dropped.
    pub fn tell(&mut self, event: E) {
        if self.list.len() < EVENTS_MAX {
            self.list.push(event);
        } else {
            self.dropped += 1;
        }
    }

    /// The events in the order they were told.
    #[must_use]
    pub fn as_slice(&self) -> &[E] {
        &self.list
    }

    /// How many events were dropped since the battle began.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
    }
}
