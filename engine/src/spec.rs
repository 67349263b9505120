//! What a battle starts from: terms, setup, roster. The same bytes stand in a recording's header and in the first
//! message to a client.
//!
//! ```text
//! version u8 = 1 | seed u64 | rate u16 | ticks_max u32
//! setup length u32, setup bytes
//! seats u16, then each: player u64 | team u8 | role u8 (0 human, 1 bot) | loadout u32
//! ```
//! All numbers little-endian.

use crate::bytes::{Bytes, Short};
use crate::snapshot::VIEW_FULL;
use crate::{Game, Record, RecordError, Roster, RosterSeat, SEATS_MAX, SeatRole, TEAMS_MAX, Team, TickRate};

/// What all games have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Where all random numbers of the battle come from.
    pub seed: u64,
    /// Ticks per second.
    pub rate: TickRate,
    /// The tick at which the battle ends at the latest, 1 to [`TICKS_MAX`].
    pub ticks_max: u32,
}

/// The longest battle: a day at 240 Hz.
pub const TICKS_MAX: u32 = 240 * 86_400;

/// What a battle starts from. With the records of its ticks it is the whole battle.
#[derive(Debug)]
pub struct BattleSpec<G: Game> {
    /// What all games have in common.
    pub terms: Terms,
    /// Map, mode, rules.
    pub setup: G::Setup,
    /// Who plays.
    pub roster: Roster,
}

impl<G: Game> Clone for BattleSpec<G> {
    fn clone(&self) -> Self {
        Self { terms: self.terms, setup: self.setup, roster: self.roster.clone() }
    }
}

/// Why bytes or values are no spec of a battle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The bytes end too early.
    #[error("the spec ends too early")]
    Short,
    /// Bytes are left over.
    #[error("{0} bytes after the end of the spec")]
    Long(usize),
    /// A version that this build does not know.
    #[error("spec version {0}, this build knows 1")]
    Version(u8),
    /// The rate is 0 or above its bound.
    #[error("tick rate {0} Hz, possible are 1 to {max}", max = TickRate::MAX)]
    Rate(u16),
    /// `ticks_max` is outside its bounds.
    #[error("a battle of {0} ticks, possible are 1 to {TICKS_MAX}")]
    Ticks(u32),
    /// There are no seats, or too many.
    #[error("{0} seats, possible are 1 to {SEATS_MAX}")]
    Seats(usize),
    /// A seat's team does not exist.
    #[error("team {0}, possible are 0 to {max}", max = TEAMS_MAX - 1)]
    Team(u8),
    /// A seat's role is unknown.
    #[error("seat role {0}, known are 0 and 1")]
    Role(u8),
    /// The setup is no setup of this game.
    #[error("setup: {0}")]
    Setup(#[from] RecordError),
}

impl From<Short> for SpecError {
    fn from(_: Short) -> Self {
        Self::Short
    }
}

const VERSION: u8 = 1;

impl<G: Game> BattleSpec<G> {
    /// A battle of a mode with nothing but scripted players, at [`TickRate::DEFAULT`]: for tests, benches and first
    /// steps. Costs an allocation of all seats.
    #[must_use]
    pub fn bots(mode: &crate::Mode<G::Setup>, seed: u64) -> Self {
        let rate = TickRate::DEFAULT;
        let ticks_max = mode.seconds.saturating_mul(u32::from(rate.hz())).clamp(1, TICKS_MAX);
        let roster = Roster::bots(mode.teams, mode.seats_per_team);
        Self { terms: Terms { seed, rate, ticks_max }, setup: mode.setup, roster }
    }

    /// Whether some seat gets another view than the full one: then nobody is told enough to compute the battle.
    #[must_use]
    pub fn hides(&self) -> bool {
        self.roster.iter().any(|(seat, _)| G::view(self, Some(seat)) != VIEW_FULL)
    }

    /// The spec as clients are told it: without the seed if the battle [`hides`](Self::hides) something, for what was
    /// drawn from it before the first tick would be known. Costs a copy.
    #[must_use]
    pub fn shown(&self) -> Self {
        let seed = if self.hides() { 0 } else { self.terms.seed };
        Self { terms: Terms { seed, ..self.terms }, ..self.clone() }
    }

    /// Checks every bound.
    ///
    /// # Errors
    /// If one does not hold.
    pub fn check(&self) -> Result<(), SpecError> {
        if self.terms.ticks_max == 0 || self.terms.ticks_max > TICKS_MAX {
            return Err(SpecError::Ticks(self.terms.ticks_max));
        }
        if self.roster.is_empty() || self.roster.len() > SEATS_MAX {
            return Err(SpecError::Seats(self.roster.len()));
        }
        if let Some(seat) = self.roster.seats.iter().find(|seat| usize::from(seat.team.0) >= TEAMS_MAX) {
            return Err(SpecError::Team(seat.team.0));
        }
        Ok(())
    }

    /// The spec as bytes: 21, the setup's, and 14 for each seat. Costs an allocation of its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let setup = bytemuck::bytes_of(&self.setup);
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.terms.seed.to_le_bytes());
        out.extend_from_slice(&self.terms.rate.hz().to_le_bytes());
        out.extend_from_slice(&self.terms.ticks_max.to_le_bytes());
        out.extend_from_slice(&(setup.len() as u32).to_le_bytes());
        out.extend_from_slice(setup);
        out.extend_from_slice(&(self.roster.len() as u16).to_le_bytes());
        for seat in &self.roster.seats {
            out.extend_from_slice(&seat.player.to_le_bytes());
            out.extend_from_slice(&[seat.team.0, u8::from(seat.role == SeatRole::Bot)]);
            out.extend_from_slice(&seat.loadout.to_le_bytes());
        }
        out
    }

    /// Reads a spec from bytes of a stranger. Costs a walk over the bytes and an allocation of the seats.
    ///
    /// # Errors
    /// If the bytes are not exactly one spec of this game within all bounds.
    pub fn decode(bytes: &[u8]) -> Result<Self, SpecError> {
        let mut bytes = Bytes::new(bytes);
        let version = bytes.u8()?;
        if version != VERSION {
            return Err(SpecError::Version(version));
        }
        let seed = bytes.u64()?;
        let hz = bytes.u16()?;
        let rate = TickRate::new(hz).ok_or(SpecError::Rate(hz))?;
        let ticks_max = bytes.u32()?;
        let setup_bytes = bytes.u32()? as usize;
        let setup = G::Setup::parse(bytes.take(setup_bytes)?)?;
        let seats = usize::from(bytes.u16()?);
        if seats > SEATS_MAX {
            return Err(SpecError::Seats(seats));
        }
        let mut roster = Roster { seats: Vec::with_capacity(seats) };
        for _ in 0..seats {
            let player = bytes.u64()?;
            let team = Team(bytes.u8()?);
            let role = match bytes.u8()? {
                0 => SeatRole::Human,
                1 => SeatRole::Bot,
                other => return Err(SpecError::Role(other)),
            };
            roster.seats.push(RosterSeat { player, team, role, loadout: bytes.u32()? });
        }
        if bytes.left() > 0 {
            return Err(SpecError::Long(bytes.left()));
        }
        let spec = Self { terms: Terms { seed, rate, ticks_max }, setup, roster };
        spec.check()?;
        Ok(spec)
    }
}
