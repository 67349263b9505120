//! Gameplay events: what a tick tells the players besides state. Bounded, in order, never part of the state.

/// The most events one tick may tell; later ones are counted and dropped.
pub const EVENTS_MAX: usize = 4096;

/// The events of one tick.
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
    /// Tells an event.
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
