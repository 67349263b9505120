//! Seats: who sits where, who looks on, over which connection, and how far each client is.

use tiltyard_engine::{
    COMMANDS_MAX, Command, Roster, SEATS_MAX, Seat, SeatRole, StateHash, Tick, snapshot::VIEW_FULL,
};
use tiltyard_netcode::{ConnectionId, Feed};

use crate::cadence::Cadence;
use crate::shortage::Shortage;

/// One client of a battle: its connection, its feed and how far it is.
#[derive(Debug)]
pub struct Client {
    /// The session's connection.
    pub connection: ConnectionId,
    /// Which feed it takes.
    pub feed: Feed,
    /// Which view of the battle it gets; the room decides.
    pub(crate) view: u16,
    /// The newest tick that it was told by a snapshot, with the hash of what it was shown.
    pub(crate) told: (Tick, StateHash),
    /// What it alone has, since a snapshot of all was too long for it.
    pub(crate) shortage: Option<Box<Shortage>>,
    /// What it acknowledges up to this tick it may have from another session, which was told something else.
    pub(crate) not_before: Tick,
    /// The newest snapshot that it acknowledged.
    pub snapshot_acknowledged: Option<Tick>,
    /// The newest tick that it holds all frames up to, by keyframe or acknowledgement.
    pub frames_held: Tick,
    /// When a keyframe was last sent.
    pub keyframe_sent: Tick,
    /// It asked for a keyframe.
    pub keyframe_wanted: bool,
    /// How often it is fed.
    pub(crate) cadence: Cadence,
}

impl Client {
    /// A client that has nothing yet.
    #[must_use]
    pub fn new(connection: ConnectionId, feed: Feed) -> Self {
        Self {
            connection,
            feed,
            view: VIEW_FULL,
            told: (Tick(u32::MAX), StateHash::default()),
            shortage: None,
            not_before: Tick::ZERO,
            snapshot_acknowledged: None,
            frames_held: Tick::ZERO,
            keyframe_sent: Tick::ZERO,
            keyframe_wanted: false,
            cadence: Cadence::default(),
        }
    }

    /// The client cannot go on from what it holds: a keyframe on the frame feed, a snapshot against nothing on the
    /// other.
    pub fn want_whole_state(&mut self) {
        match self.feed {
            Feed::Snapshot => self.snapshot_acknowledged = None,
            Feed::Frame => self.keyframe_wanted = true,
        }
    }

    /// The client says what it holds. A tick that was not made yet is no tick it can hold.
    pub fn acknowledge(&mut self, held: Tick, newest: Tick) {
        if held > newest {
            return;
        }
        match self.feed {
            Feed::Snapshot if held > self.not_before => {
                self.snapshot_acknowledged = self.snapshot_acknowledged.max(Some(held));
            }
            Feed::Snapshot => {}
            Feed::Frame => self.frames_held = self.frames_held.max(held),
        }
    }
}

/// The seats of a battle.
#[derive(Debug)]
pub(crate) struct Seats {
    seats: Vec<SeatState>,
    spectators: Vec<Client>,
    commands: Vec<Command>,
}

#[derive(Debug)]
struct SeatState {
    human: bool,
    joined: bool,
    /// A client of it came to another state than the battle.
    differed: bool,
    client: Option<Client>,
}

impl Seats {
    /// The seats of a roster, all empty.
    #[must_use]
    pub(crate) fn new(roster: &Roster) -> Self {
        let state =
            |role| SeatState { human: role == SeatRole::Human, joined: false, differed: false, client: None };
        let seats = roster.iter().map(|(_, entry)| state(entry.role)).collect();
        Self { seats, spectators: Vec::new(), commands: Vec::new() }
    }

    /// Whether there is such a seat, and it is a player's.
    #[must_use]
    pub(crate) fn is_for_player(&self, seat: Seat) -> bool {
        self.seats.get(seat.index()).is_some_and(|state| state.human)
    }

    /// A client takes its seat, perhaps from an older connection of its own.
    ///
    /// # Panics
    /// If the seat is no player's.
    pub(crate) fn join(&mut self, seat: Seat, client: Client) {
        assert!(self.is_for_player(seat), "seat {seat:?} was checked at admission");
        let state = &mut self.seats[seat.index()];
        let command = if state.joined { Command::Replaced(seat) } else { Command::Joined(seat) };
        state.joined = true;
        state.client = Some(client);
        self.note(command);
    }

    /// A connection is gone. Nothing happens if a newer one holds the seat already.
    pub(crate) fn leave(&mut self, seat: Seat, connection: ConnectionId) {
        if let Some(state) = self.seats.get_mut(seat.index())
            && state.client.as_ref().is_some_and(|client| client.connection == connection)
        {
            state.client = None;
            self.note(Command::Left(seat));
        }
    }

    /// The client of a seat, if `connection` is its connection.
    pub(crate) fn client(&mut self, seat: Seat, connection: ConnectionId) -> Option<&mut Client> {
        let client = self.seats.get_mut(seat.index())?.client.as_mut()?;
        (client.connection == connection).then_some(client)
    }

    /// Everybody who is connected: the clients of the seats, in seat order, then the spectators, who have none.
    pub(crate) fn clients(&mut self) -> impl Iterator<Item = (Option<Seat>, &mut Client)> {
        let seats = self.seats.iter_mut().enumerate();
        let seats =
            seats.filter_map(|(index, state)| Some((Some(Seat(index as u16)), state.client.as_mut()?)));
        seats.chain(self.spectators.iter_mut().map(|client| (None, client)))
    }

    /// Whether one more may look on.
    #[must_use]
    pub(crate) fn may_watch(&self) -> bool {
        self.spectators.len() < SPECTATORS_MAX
    }

    /// Somebody looks on from now on.
    ///
    /// # Panics
    /// If nobody more may.
    pub(crate) fn watch(&mut self, client: Client) {
        assert!(self.may_watch(), "room was asked for before");
        self.spectators.push(client);
    }

    /// A spectator's connection is gone.
    pub(crate) fn unwatch(&mut self, connection: ConnectionId) {
        self.spectators.retain(|client| client.connection != connection);
    }

    /// The spectator with this connection.
    pub(crate) fn spectator(&mut self, connection: ConnectionId) -> Option<&mut Client> {
        self.spectators.iter_mut().find(|client| client.connection == connection)
    }

    /// A client of the seat came to another state; says whether it is the first time.
    pub(crate) fn note_desync(&mut self, seat: Seat) -> bool {
        let state = self.seats.get_mut(seat.index());
        state.is_some_and(|state| !std::mem::replace(&mut state.differed, true))
    }

    /// How many seats have their client connected.
    #[must_use]
    pub(crate) fn connected(&self) -> usize {
        self.seats.iter().filter(|state| state.client.is_some()).count()
    }

    /// How many seats are for players.
    #[must_use]
    pub(crate) fn humans(&self) -> usize {
        self.seats.iter().filter(|state| state.human).count()
    }

    /// How many players have taken their seat at least once.
    #[must_use]
    pub(crate) fn joined(&self) -> usize {
        self.seats.iter().filter(|state| state.joined).count()
    }

    /// Moves what happened since the last tick into its record.
    pub(crate) fn take_commands(&mut self, into: &mut Vec<Command>) {
        into.clear();
        into.append(&mut self.commands);
    }

    /// Notes what happened since the last tick; of the same thing twice only the last time counts. A client can come
    /// and go as often as it likes before the first tick: there are at most [`COMMANDS_PER_SEAT_MAX`] of a seat.
    fn note(&mut self, command: Command) {
        self.commands.retain(|noted| *noted != command);
        self.commands.push(command);
    }
}

/// Spectators of one battle at once; a further one is sent away.
pub(crate) const SPECTATORS_MAX: usize = 64;

/// A seat can be joined, left and replaced.
const COMMANDS_PER_SEAT_MAX: usize = 3;

const _: () = assert!(SEATS_MAX * COMMANDS_PER_SEAT_MAX < COMMANDS_MAX, "a record takes what is noted");

#[cfg(test)]
mod tests {
    use tiltyard_engine::{RosterSeat, Team};

    use super::*;

    #[test]
    fn a_client_that_comes_and_goes_at_will_does_not_fill_the_record() {
        let seat = RosterSeat { player: 1, team: Team(0), role: SeatRole::Human, loadout: 0 };
        let mut seats = Seats::new(&Roster { seats: vec![seat; 2] });
        seats.join(Seat(1), Client::new(ConnectionId(0), Feed::Frame));
        for number in 1..=COMMANDS_MAX as u64 {
            seats.join(Seat(0), Client::new(ConnectionId(number), Feed::Frame));
            seats.leave(Seat(0), ConnectionId(number));
        }
        let mut commands = Vec::new();
        seats.take_commands(&mut commands);
        let of_the_busy = [Command::Joined(Seat(0)), Command::Replaced(Seat(0)), Command::Left(Seat(0))];
        assert_eq!(commands[0], Command::Joined(Seat(1)));
        assert_eq!(commands[1..], of_the_busy);
        seats.take_commands(&mut commands);
        assert!(commands.is_empty());
    }
}
