//! The client's inputs that the server has not confirmed: what goes into each INPUTS message.

use std::collections::VecDeque;

use crate::message::{INPUT_LEN_MAX, INPUTS_RUN_MAX, Inputs};

/// Unconfirmed inputs of consecutive ticks, at most `INPUTS_RUN_MAX`; the oldest give way.
#[derive(Clone, Debug, Default)]
pub struct InputWindow {
    /// The tick of the first entry.
    first_tick: u32,
    inputs: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
}

impl InputWindow {
    /// Adds the input for `tick`. A tick that was passed over is filled with a copy of this input, so that the run stays
    /// consecutive; a tick that is already there, or older, is ignored: what was said is said.
    ///
    /// # Panics
    /// When the input is longer than `INPUT_LEN_MAX`.
    pub fn push(&mut self, tick: u32, input: &[u8]) {
        assert!(input.len() <= INPUT_LEN_MAX, "an input of {} bytes", input.len());
        let Some(newest) = self.newest_tick() else {
            self.first_tick = tick;
            self.append(input);
            return;
        };
        if tick.saturating_sub(newest) as usize > INPUTS_RUN_MAX {
            // A jump so far that nothing of the run would stay.
            while self.drop_oldest() {}
            return self.push(tick, input);
        }
        for _ in newest..tick {
            self.append(input);
        }
    }

    /// The server holds every input up to `tick`.
    pub fn confirm(&mut self, tick: u32) {
        while !self.inputs.is_empty() && self.first_tick <= tick {
            self.drop_oldest();
        }
    }

    /// Writes the INPUTS message of the newest `redundancy` unconfirmed inputs into `out`; with none, an
    /// acknowledgement alone.
    pub fn encode(&self, out: &mut Vec<u8>, seat: u16, acknowledged: Option<u32>, redundancy: usize) {
        let skipped = self.inputs.len().saturating_sub(redundancy);
        let newest = self.newest_tick().unwrap_or(0);
        Inputs::encode(out, seat, acknowledged, newest, self.inputs.range(skipped..).map(Vec::as_slice));
    }

    /// The newest tick that has an input and is not confirmed.
    pub fn newest_tick(&self) -> Option<u32> {
        let ahead = u32::try_from(self.inputs.len()).ok()?.checked_sub(1)?;
        Some(self.first_tick.saturating_add(ahead))
    }

    /// How many inputs wait for confirmation.
    pub fn len(&self) -> usize {
        self.inputs.len()
    }

    /// Whether everything is confirmed.
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }

    fn append(&mut self, input: &[u8]) {
        if self.inputs.len() == INPUTS_RUN_MAX {
            self.drop_oldest();
        }
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(input);
        self.inputs.push_back(bytes);
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.inputs.pop_front() else { return false };
        self.spare.push(oldest);
        self.first_tick = self.first_tick.saturating_add(1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::ToServer;

    fn runs(window: &InputWindow, redundancy: usize) -> Vec<(u32, u8)> {
        let mut out = Vec::new();
        window.encode(&mut out, 4, Some(9), redundancy);
        let Ok(ToServer::Inputs(inputs)) = ToServer::parse(&out) else { panic!("{out:?}") };
        assert_eq!((inputs.seat, inputs.acknowledged), (4, Some(9)));
        inputs.run().map(|(tick, bytes)| (tick, bytes[0])).collect()
    }

    #[test]
    fn unconfirmed_inputs_travel_until_they_are_confirmed() {
        let mut window = InputWindow::default();
        assert_eq!(runs(&window, 3), []);
        for tick in 10..15 {
            window.push(tick, &[tick as u8]);
        }
        assert_eq!(runs(&window, 3), [(12, 12), (13, 13), (14, 14)]);
        window.confirm(13);
        assert_eq!(runs(&window, 3), [(14, 14)]);
        window.confirm(20);
        assert_eq!(runs(&window, 3), []);
    }

    #[test]
    fn an_input_that_was_said_is_not_changed() {
        let mut window = InputWindow::default();
        window.push(5, &[1]);
        window.push(5, &[2]);
        window.push(4, &[3]);
        assert_eq!(runs(&window, 8), [(5, 1)]);
    }

    #[test]
    fn skipped_ticks_are_filled_and_a_long_jump_starts_anew() {
        let mut window = InputWindow::default();
        window.push(5, &[1]);
        window.push(8, &[2]);
        assert_eq!(runs(&window, 8), [(5, 1), (6, 2), (7, 2), (8, 2)]);
        window.push(500, &[3]);
        assert_eq!(runs(&window, 8), [(500, 3)]);
    }

    #[test]
    fn the_window_is_bounded() {
        let mut window = InputWindow::default();
        for tick in 0..1_000 {
            window.push(tick, &[0]);
        }
        assert_eq!((window.len(), window.newest_tick()), (INPUTS_RUN_MAX, Some(999)));
    }
}
