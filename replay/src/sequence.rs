//! The order of a recording's blocks: which may follow which, tick by tick and epoch by epoch.

use crate::format::{BlockHeader, Kind};

/// What stands where something else is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {found} where {expected} is due")]
pub struct OrderError {
    /// Which number.
    pub what: &'static str,
    /// What the block says.
    pub found: u32,
    /// What the blocks before it ask for.
    pub expected: u32,
}

/// What the blocks read so far ask of the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sequence {
    epoch: u32,
    /// The next tick; nothing while only a keyframe can say.
    next_tick: Option<u32>,
    /// The first tick whose hash is still to come.
    next_hash: u32,
}

impl Sequence {
    /// The order of a file's blocks from its first on.
    pub(crate) const fn from_start(part: u32) -> Self {
        let next_tick = if part == 0 { Some(1) } else { None };
        Self { epoch: 0, next_tick, next_hash: 0 }
    }

    /// The order from a keyframe on, whichever it is.
    pub(crate) const fn from_keyframe() -> Self {
        Self { epoch: 0, next_tick: None, next_hash: 0 }
    }

    /// After damage: only a keyframe, or the end, can follow.
    pub(crate) const fn lose_track(&mut self) {
        self.next_tick = None;
    }

    /// The newest tick, if known.
    pub(crate) fn newest_tick(&self) -> Option<u32> {
        self.next_tick.map(|next| next.saturating_sub(1))
    }

    /// Takes the next block, or says why it cannot stand here.
    pub(crate) fn accept(&mut self, kind: Kind, header: &BlockHeader) -> Result<(), OrderError> {
        let raised = header.epoch > self.epoch && self.epoch > 0;
        if header.epoch < self.epoch {
            return Err(OrderError { what: "epoch", found: header.epoch, expected: self.epoch });
        }
        if raised && kind != Kind::Keyframe {
            return Err(OrderError {
                what: "epoch without a keyframe",
                found: header.epoch,
                expected: self.epoch,
            });
        }
        let due = |what, found, expected| {
            if found == expected { Ok(()) } else { Err(OrderError { what, found, expected }) }
        };
        let next = self.next_tick.unwrap_or(0);
        let newest = next.saturating_sub(1);
        // Caps on first tick and tick count keep this sum within 32 bits.
        let after = header.first_tick.saturating_add(header.tick_count);
        match kind {
            Kind::Keyframe => {
                // A takeover goes back, never ahead: there would be a hole.
                let placed = self.next_tick.is_some() && (!raised || header.first_tick > newest);
                if placed {
                    due("tick of the keyframe", header.first_tick, newest)?;
                }
                self.next_tick = Some(header.first_tick.saturating_add(1));
                self.next_hash = 0;
            }
            Kind::StateHashes => {
                due("first tick of the hashes", header.first_tick, next)?;
                self.next_hash = after;
            }
            Kind::TickRecords => {
                due("first tick of the records", header.first_tick, next)?;
                if self.next_hash > header.first_tick {
                    due("tick after the records", after, self.next_hash)?;
                }
                self.next_tick = Some(after);
            }
            Kind::Events => {
                if after > next {
                    due("tick after the events", after, next)?;
                }
            }
            Kind::Snapshot | Kind::Report => {
                if header.first_tick > newest {
                    due("tick of the block", header.first_tick, newest)?;
                }
            }
            Kind::Index | Kind::End => {
                if self.next_tick.is_some() {
                    due("last tick", header.first_tick, newest)?;
                }
            }
        }
        self.epoch = header.epoch;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(kind: Kind, epoch: u32, first_tick: u32, tick_count: u32) -> (Kind, BlockHeader) {
        let [codec, version] = [0, 1];
        let lengths = [0; 3];
        let [raw_bytes, stored_bytes, payload_crc] = lengths;
        let kind_number = kind as u8;
        let header = BlockHeader {
            kind: kind_number,
            codec,
            version,
            epoch,
            first_tick,
            tick_count,
            raw_bytes,
            stored_bytes,
            payload_crc,
        };
        (kind, header)
    }

    fn check(part: u32, blocks: &[(Kind, BlockHeader)], refused: Option<&str>) {
        let mut sequence = Sequence::from_start(part);
        let found = blocks.iter().find_map(|(kind, header)| sequence.accept(*kind, header).err());
        assert_eq!(found.map(|error| error.what), refused, "{found:?}");
    }

    #[test]
    fn ticks_follow_each_other() {
        use Kind::{End, Keyframe, StateHashes, TickRecords};
        let second = [block(StateHashes, 1, 1, 30), block(TickRecords, 1, 1, 30), block(Keyframe, 1, 30, 0)];
        let with = |kind, first, count| [&second[..], &[block(kind, 1, first, count)]].concat();
        check(0, &with(TickRecords, 31, 30), None);
        check(0, &with(TickRecords, 32, 30), Some("first tick of the records"));
        check(0, &with(TickRecords, 30, 30), Some("first tick of the records"));
        check(0, &with(StateHashes, 32, 30), Some("first tick of the hashes"));
        check(0, &with(Keyframe, 31, 0), Some("tick of the keyframe"));
        check(0, &with(End, 30, 0), None);
        check(0, &with(End, 29, 0), Some("last tick"));
        check(
            0,
            &[block(StateHashes, 1, 1, 30), block(TickRecords, 1, 1, 29)],
            Some("tick after the records"),
        );
    }

    #[test]
    fn later_part_begins_with_a_keyframe() {
        check(1, &[block(Kind::TickRecords, 1, 1, 1)], Some("first tick of the records"));
        check(1, &[block(Kind::Keyframe, 1, 600, 0), block(Kind::TickRecords, 1, 601, 1)], None);
    }

    #[test]
    fn higher_epoch_takes_over_by_a_keyframe_only() {
        let first = block(Kind::TickRecords, 4, 1, 30);
        check(0, &[first, block(Kind::Keyframe, 5, 20, 0), block(Kind::TickRecords, 5, 21, 9)], None);
        check(0, &[first, block(Kind::Keyframe, 5, 30, 0)], None);
        check(0, &[first, block(Kind::Keyframe, 5, 31, 0)], Some("tick of the keyframe"));
        check(0, &[first, block(Kind::TickRecords, 5, 31, 9)], Some("epoch without a keyframe"));
        check(0, &[first, block(Kind::Keyframe, 3, 30, 0)], Some("epoch"));
        check(0, &[first, block(Kind::Keyframe, 4, 20, 0)], Some("tick of the keyframe"));
    }
}
