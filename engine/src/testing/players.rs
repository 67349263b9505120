//! Random players for a fuzz: scripted ones, people who do odd things, seats that nobody plays for a while, and what a
//! game or an administrator decides.

use crate::rng::Rng;
use crate::{Battle, Command, FieldKind, Game, Reason, Record, Seat, SeatInput, TickRecord};

/// Who plays each seat, and what he did last.
pub(super) struct Players<G: Game> {
    seats: Vec<(Player, G::Input)>,
    /// How many commands were acts.
    pub(super) acts: u64,
    /// How many inputs [`Game::check`] refuses.
    pub(super) unchecked: u64,
}

#[derive(Clone, Copy)]
enum Player {
    Bot,
    Human,
    /// Nobody, for so many ticks.
    Gone(u16),
}

impl<G: Game> Players<G> {
    pub(super) fn new(seats: usize) -> Self {
        Self { seats: vec![(Player::Bot, G::Input::default()); seats], acts: 0, unchecked: 0 }
    }

    /// What all seats do next: what a node could have recorded, joins, leaves and takeovers included.
    pub(super) fn decide(&mut self, battle: &Battle<G>, rng: &mut Rng, record: &mut TickRecord<G::Input>) {
        record.tick = battle.tick().next();
        record.commands.clear();
        record.inputs.clear();
        for (index, (player, last)) in self.seats.iter_mut().enumerate() {
            let seat = Seat(index as u16);
            if rng.one_in(64) {
                let (next, command) = match player {
                    Player::Bot => (Player::Human, Command::Joined(seat)),
                    Player::Human if rng.one_in(4) => (Player::Human, Command::Replaced(seat)),
                    Player::Human => (Player::Gone(0), Command::Left(seat)),
                    Player::Gone(_) if rng.one_in(2) => (Player::Bot, Command::Left(seat)),
                    Player::Gone(_) => (Player::Human, Command::Replaced(seat)),
                };
                *player = next;
                record.commands.push(command);
            }
            let (input, reason) = match player {
                Player::Bot => (battle.bot_input(seat), Reason::Bot),
                Player::Human if rng.one_in(8) => (G::missing(last, 1), Reason::Repeated),
                Player::Human => (human::<G>(battle, seat, last, rng), Reason::Arrived),
                Player::Gone(age) => {
                    *age = age.saturating_add(1);
                    let reason = if *age <= 6 { Reason::Repeated } else { Reason::Neutral };
                    (G::missing(last, *age), reason)
                }
            };
            *last = input;
            self.unchecked += u64::from(!G::check(&input));
            record.inputs.push(SeatInput { input, reason });
        }
        while rng.one_in(16) {
            let seat = Seat(rng.below(self.seats.len() as u32) as u16);
            record.commands.push(Command::Act { seat, value: odd_integer(FieldKind::U32, rng) as u32 });
            self.acts += 1;
        }
        if G::CHANCE {
            record.commands.push(Command::Chance(rng.next_u32()));
        }
    }
}

/// Mostly goes on as before, sometimes plays well, often tries something odd. Now and then that is what [`Game::check`]
/// refuses: no node lets it in, but a recording of a stranger may hold it.
fn human<G: Game>(battle: &Battle<G>, seat: Seat, last: &G::Input, rng: &mut Rng) -> G::Input {
    let input = match rng.below(8) {
        0 => battle.bot_input(seat),
        1 | 2 => odd(*last, rng),
        3 => odd(G::Input::default(), rng),
        _ => *last,
    };
    if G::check(&input) || rng.one_in(8) { input } else { *last }
}

/// Makes the first float of an input not a number; false if it has none.
pub(super) fn spoil<I: Record>(input: &mut I) -> bool {
    let Some(field) = I::FIELDS.iter().find(|field| field.kind.is_float()) else { return false };
    let at = field.offset as usize;
    bytemuck::bytes_of_mut(input)[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    true
}

/// An input with one element of one field at an odd value, or with a few bits flipped.
fn odd<I: Record>(input: I, rng: &mut Rng) -> I {
    let mut changed = input;
    let bytes = bytemuck::bytes_of_mut(&mut changed);
    if bytes.is_empty() {
        return input;
    }
    if rng.one_in(4) {
        for _ in 0..=rng.below(3) {
            let bit = rng.below(bytes.len() as u32 * 8) as usize;
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    } else {
        let field = I::FIELDS[rng.below(I::FIELDS.len() as u32) as usize];
        let at = field.offset as usize + rng.below(field.count) as usize * field.kind.size();
        let value = if field.kind.is_float() { odd_float(rng) } else { odd_integer(field.kind, rng) };
        let size = field.kind.size();
        bytes[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
    }
    // What is no record, such as a NaN, is refused before a game sees it.
    I::parse(bytes).unwrap_or(input)
}

fn odd_float(rng: &mut Rng) -> u64 {
    let value = match rng.below(6) {
        0 => 0.0,
        1 => [1.0, -1.0][rng.below(2) as usize],
        2 => rng.signed() * crate::math::PI,
        3 => f32::from_bits(rng.next_u32()),
        _ => rng.signed(),
    };
    u64::from(value.to_bits())
}

fn odd_integer(kind: FieldKind, rng: &mut Rng) -> u64 {
    let bits = kind.size() as u32 * 8;
    match rng.below(4) {
        0 => u64::from(rng.below(4)),
        // The largest number and the one after, which is the smallest where there is a sign.
        1 => (1_u64 << (bits - 1)).wrapping_sub(u64::from(rng.below(2))),
        2 => u64::MAX.wrapping_sub(u64::from(rng.below(2))),
        _ => rng.next_u64(),
    }
}
