//! Seats: who takes part in a battle, and on which side.

use bytemuck::{Pod, Zeroable};

/// A player's place in a battle, from 0 in roster order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct Seat(pub u16);

impl Seat {
    /// The seat's place in a slice that holds one value a seat.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A side of a battle, from 0 to [`TEAMS_MAX`] − 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct Team(pub u8);

/// The most seats a battle may have.
pub const SEATS_MAX: usize = 1024;

/// The most teams a battle may have.
pub const TEAMS_MAX: usize = 16;

/// Who is expected to play a seat. A game's rules do not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeatRole {
    /// A player with a battle token.
    Human,
    /// The game's scripted player (`Game::bot`), run by the node.
    Bot,
}

/// One seat of a roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RosterSeat {
    /// The player's id, as the lobby knows it; 0 for a scripted player.
    pub player: u64,
    /// The side the seat fights for.
    pub team: Team,
    /// Who plays the seat.
    pub role: SeatRole,
    /// What the player chose before the battle; its meaning is the game's.
    pub loadout: u32,
}

/// The seats of a battle, fixed before its first tick.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// The seats, in seat order; at most [`SEATS_MAX`].
    pub seats: Vec<RosterSeat>,
}

impl Roster {
    /// A roster of scripted players: `seats_per_team` seats for each of `teams` teams, team by team. Costs an
    /// allocation of all seats.
    #[must_use]
    pub fn bots(teams: u8, seats_per_team: u16) -> Self {
        let seat = |team| RosterSeat { player: 0, team: Team(team), role: SeatRole::Bot, loadout: 0 };
        let seats = (0..teams).flat_map(|team| (0..seats_per_team).map(move |_| seat(team))).collect();
        Self { seats }
    }

    /// How many seats there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// Whether there is no seat.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// Every seat with its entry, in seat order.
    pub fn iter(&self) -> impl Iterator<Item = (Seat, &RosterSeat)> {
        self.seats.iter().enumerate().map(|(index, entry)| (Seat(index as u16), entry))
    }
}
