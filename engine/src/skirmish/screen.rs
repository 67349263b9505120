//! Skirmish in a terminal: what is drawn, what keys do, what events say.

use glam::Vec2;

use super::state::{
    Arms, BLAST, Block, Event, EventKind, FIRE, Facing, Flyer, Input, NO_TEAM, Obstacle, Puppet, Score, Tally,
};
use super::{Rules, Skirmish};
use crate::kit::ai::{is_clear, lead};
use crate::kit::flyer::Flight;
use crate::kit::life::Life;
use crate::kit::motion::{Position, Velocity};
use crate::math;
use crate::screen::{Canvas, Ink, Key, Keys};
use crate::{ActorId, Battle, Seat, Team, World};

/// What keys do.
pub(super) const KEYS: &[(&str, &str)] =
    &[("wasd or arrows", "move"), ("space", "fire at the nearest enemy in sight"), ("e", "blast")];

/// Rows above the map.
const HEAD: u16 = 2;
/// How far before oneself the direction of aim is marked, in metres.
const MARK: f32 = 3.0;
/// Characters of the health bar.
const BAR: i32 = 10;
/// Columns of the list of puppets, on the right of the map.
const LIST: u16 = 28;
/// Columns that the canvas has at least where that list is shown.
const LIST_COLUMNS_MIN: u16 = 80;
/// How long a blast is seen, in seconds.
const BLAST_SEEN: f32 = 0.4;
/// Marks that a blast's ring is drawn by.
const RING: u16 = 64;

/// Moves by the keys; aims at the nearest enemy in sight, else where it goes, else where it aimed.
pub(super) fn steer(world: &World, seat: Seat, keys: &Keys) -> Input {
    let wish = Vec2::new(
        keys.axis(&[Key::Char('a'), Key::Left], &[Key::Char('d'), Key::Right]),
        keys.axis(&[Key::Char('s'), Key::Down], &[Key::Char('w'), Key::Up]),
    );
    let button = |key, button| if keys.is_held(Key::Char(key)) { button } else { 0 };
    let buttons = button(' ', FIRE) | button('e', BLAST);
    let puppets = world.rows::<Puppet>();
    let (facings, positions) = (puppets.read::<Facing>(), puppets.read::<Position>());
    let (Some(facing), Some(position)) = (facings.get(seat.index()), positions.get(seat.index())) else {
        return Input::default();
    };
    let speed = world.singleton::<Rules>().flyer_speed;
    let aim = match target(world, seat) {
        Some((at, velocity)) => math::angle_of(lead(position.at, at, velocity, speed) - position.at),
        None if wish != Vec2::ZERO => math::angle_of(wish),
        None => facing.angle,
    };
    Input::new(wish, aim, buttons)
}

/// Place and velocity of the nearest living enemy that no obstacle hides.
fn target(world: &World, seat: Seat) -> Option<(Vec2, Vec2)> {
    let puppets = world.rows::<Puppet>();
    let (lives, positions) = (puppets.read::<Life>(), puppets.read::<Position>());
    let (me, here) = (lives[seat.index()], positions[seat.index()].at);
    let blocks = world.rows::<Obstacle>().read::<Block>();
    let distance_squared = |row: &usize| (positions[*row].at - here).length_squared();
    let enemies = (0..lives.len()).filter(|row| lives[*row].is_alive() && lives[*row].team != me.team);
    let seen = enemies.filter(|row| is_clear(here, positions[*row].at, 0.0, blocks.iter().map(Block::rect)));
    let nearest = seen.min_by(|left, right| distance_squared(left).total_cmp(&distance_squared(right)))?;
    Some((positions[nearest].at, puppets.read::<Velocity>()[nearest].per_second))
}

/// Draws clock, score, oneself, the arena and, where there is room, how everybody is.
pub(super) fn picture(battle: &Battle<Skirmish>, seat: Option<Seat>, canvas: &mut Canvas) {
    let world = battle.world();
    let seat = seat.filter(|seat| seat.index() < world.rows::<Puppet>().len());
    head(battle, canvas);
    if let Some(seat) = seat {
        oneself(world, seat, canvas);
    }
    if canvas.columns() < LIST_COLUMNS_MIN {
        arena(battle, seat, HEAD, canvas);
        return;
    }
    let rows = canvas.rows().saturating_sub(HEAD);
    let mut field = Canvas::new(canvas.columns() - LIST, rows);
    arena(battle, seat, 0, &mut field);
    canvas.paste(0, HEAD, &field);
    let mut puppets = Canvas::new(LIST - 1, rows);
    list(world, seat, &mut puppets);
    canvas.paste(canvas.columns() - LIST + 1, HEAD, &puppets);
}

fn head(battle: &Battle<Skirmish>, canvas: &mut Canvas) {
    let (world, terms) = (battle.world(), &battle.spec().terms);
    let (rules, score) = (world.singleton::<Rules>(), world.singleton::<Score>());
    let seconds = seconds(terms.ticks_max.saturating_sub(world.tick().0), &rules) as u32;
    let mut next = canvas.text(0, 0, &format!("{}:{:02} left", seconds / 60, seconds % 60), Ink::Strong);
    for (team, kills) in score.kills.iter().enumerate().take(rules.teams as usize) {
        let text = format!("team {team}: {kills}");
        next = canvas.text(next.saturating_add(3), 0, &text, ink(team as u8));
    }
    if rules.score_limit > 0 {
        let text = format!("{} kills win", rules.score_limit);
        canvas.text(next.saturating_add(3), 0, &text, Ink::Faint);
    }
}

fn oneself(world: &World, seat: Seat, canvas: &mut Canvas) {
    let (rules, puppets, row) = (world.singleton::<Rules>(), world.rows::<Puppet>(), seat.index());
    let (life, tally, arms) =
        (puppets.read::<Life>()[row], puppets.read::<Tally>()[row], puppets.read::<Arms>()[row]);
    let now = world.tick();
    let mut next = canvas.text(0, 1, "@", Ink::Strong);
    next = canvas.text(next, 1, " you are ", Ink::Plain);
    next = canvas.text(next, 1, &name(row), ink(life.team));
    if life.is_alive() {
        let text = format!("   health {} {}", bar(&life, &rules), life.health);
        next = canvas.text(next, 1, &text, health_ink(&life, &rules));
        let (text, colour) = match seconds(arms.blast.left(now.next()), &rules) {
            left if left > 0.0 => (format!("   blast in {left:.1} s"), Ink::Faint),
            _ => ("   blast ready".to_owned(), Ink::Strong),
        };
        next = canvas.text(next, 1, &text, colour);
    } else {
        let left = seconds(life.returns_at.since(now), &rules);
        next = canvas.text(next, 1, &format!("   dead, back in {left:.1} s"), Ink::Alarm);
    }
    canvas.text(next, 1, &format!("   kills {}, deaths {}", tally.kills, tally.deaths), Ink::Plain);
}

/// A line for each puppet, as far as there are rows: name, health, kills and deaths.
fn list(world: &World, seat: Option<Seat>, canvas: &mut Canvas) {
    let (rules, puppets, now) = (world.singleton::<Rules>(), world.rows::<Puppet>(), world.tick());
    let (lives, tallies) = (puppets.read::<Life>(), puppets.read::<Tally>());
    let rows = usize::from(canvas.rows());
    let shown = if lives.len() > rows { rows.saturating_sub(1) } else { lives.len() };
    for (row, (life, tally)) in lives.iter().zip(&*tallies).enumerate().take(shown) {
        let line = row as u16;
        let mark = if seat.is_some_and(|seat| seat.index() == row) { '@' } else { ' ' };
        canvas.put(0, line, mark, Ink::Strong);
        canvas.text(2, line, &name(row), ink(life.team));
        if life.is_alive() {
            canvas.text(6, line, &bar(life, &rules), health_ink(life, &rules));
        } else {
            let left = seconds(life.returns_at.since(now), &rules);
            canvas.text(6, line, &format!("dead {left:.1} s"), Ink::Faint);
        }
        canvas.text(18, line, &format!("{:>4}/{}", tally.kills, tally.deaths), Ink::Plain);
    }
    if shown < lives.len() {
        canvas.text(2, shown as u16, &format!("and {} more", lives.len() - shown), Ink::Faint);
    }
}

fn bar(life: &Life, rules: &Rules) -> String {
    let (health, full) = (i32::from(life.health.max(0)), i32::from(rules.health.max(1)));
    let marks = (health * BAR + full - 1) / full;
    (0..BAR).map(|mark| if mark < marks { '█' } else { '·' }).collect()
}

fn health_ink(life: &Life, rules: &Rules) -> Ink {
    if i32::from(life.health) * 3 < i32::from(rules.health) { Ink::Alarm } else { Ink::Plain }
}

fn arena(battle: &Battle<Skirmish>, seat: Option<Seat>, first_row: u16, canvas: &mut Canvas) {
    let world = battle.world();
    let (rules, puppets) = (world.singleton::<Rules>(), world.rows::<Puppet>());
    let (lives, positions) = (puppets.read::<Life>(), puppets.read::<Position>());
    let mut map = canvas.map(first_row, &rules.bounds(), seat.map(|seat| positions[seat.index()].at));
    map.outline(&rules.bounds(), Ink::Faint);
    for block in world.rows::<Obstacle>().read::<Block>().iter() {
        map.fill(&block.rect(), '▒', Ink::Faint);
    }
    let arms = puppets.read::<Arms>();
    for (row, age) in arms.iter().map(|arms| blast_age(arms, world, &rules)).enumerate() {
        let Some(age) = age else { continue };
        let radius = rules.blast_radius * ((age + 1.0) * rules.seconds / BLAST_SEEN).min(1.0);
        for mark in 0..RING {
            let angle = math::PI * (f32::from(mark) / f32::from(RING / 2) - 1.0);
            map.put(positions[row].at + math::direction(angle) * radius, '*', ink(lives[row].team));
        }
    }
    for (row, (life, position)) in
        lives.iter().zip(&*positions).enumerate().filter(|(_, (life, _))| !life.is_alive())
    {
        map.put(
            position.at,
            'x',
            if seat.is_some_and(|seat| seat.index() == row) { Ink::Alarm } else { ink(life.team) },
        );
    }
    let flyers = world.rows::<Flyer>();
    for (position, flight) in flyers.read::<Position>().iter().zip(&*flyers.read::<Flight>()) {
        map.put(position.at, '•', ink(flight.team));
    }
    for (row, (life, position)) in
        lives.iter().zip(&*positions).enumerate().filter(|(_, (life, _))| life.is_alive())
    {
        map.put(position.at, glyph(row, battle.spec().roster.len()), ink(life.team));
    }
    if let Some(row) = seat.map(Seat::index).filter(|row| lives[*row].is_alive()) {
        let at = positions[row].at;
        map.put(at + math::direction(puppets.read::<Facing>()[row].angle) * MARK, '+', Ink::Faint);
        map.put(at, '@', Ink::Strong);
    }
}

/// How many ticks ago a puppet made its blast, while that is seen. The state tells, so that whoever looks at one tick
/// alone sees it too.
fn blast_age(arms: &Arms, world: &World, rules: &Rules) -> Option<f32> {
    let began = arms.blast.0.0.checked_sub(rules.blast_ticks).filter(|began| *began > 0)?;
    let age = world.tick().0.checked_sub(began)? as f32;
    (age * rules.seconds < BLAST_SEEN).then_some(age)
}

/// One line about an event; nothing for those that are everywhere.
pub(super) fn describe(world: &World, seat: Option<Seat>, event: &Event) -> Option<String> {
    let puppets = world.rows::<Puppet>();
    let me = seat.and_then(|seat| puppets.ids().get(seat.index()).copied());
    let named = |id: ActorId| match puppets.find(id) {
        _ if Some(id) == me => "you".to_owned(),
        Some(row) => name(row),
        None => "a stray".to_owned(),
    };
    let is_mine = Some(event.who) == me || Some(event.by) == me;
    let (who, by) = (named(event.who), named(event.by));
    match event.kind()? {
        EventKind::Death => Some(format!("{by} killed {who}")),
        EventKind::Hit if is_mine => Some(format!("{by} hit {who} for {}", event.amount)),
        EventKind::Respawn if is_mine => Some(format!("{who} are back")),
        EventKind::Blast if is_mine => Some(format!("{who} made a blast")),
        EventKind::Hit | EventKind::Respawn | EventKind::Blast => None,
    }
}

fn seconds(ticks: u32, rules: &Rules) -> f32 {
    ticks as f32 * rules.seconds
}

fn ink(team: u8) -> Ink {
    if team == NO_TEAM { Ink::Faint } else { Ink::Team(Team(team)) }
}

/// A puppet's name: its row, which for players is their seat.
fn name(row: usize) -> String {
    format!("#{row}")
}

/// The character of a puppet: a digit or letter for the first seats, the same for all others.
fn glyph(row: usize, seats: usize) -> char {
    let known = u32::try_from(row).ok().filter(|_| row < seats).and_then(|row| char::from_digit(row, 36));
    known.unwrap_or('o')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skirmish::PUPPET_RADIUS;
    use crate::{BattleSpec, Game, Reason, SeatInput, Tick, TickRecord};

    fn battle(seed: u64) -> Battle<Skirmish> {
        Battle::new(BattleSpec::bots(&Skirmish::modes()[0], seed)).expect("the mode starts")
    }

    #[test]
    fn the_picture_shows_the_arena_and_every_puppet() {
        let battle = battle(7);
        let mut canvas = Canvas::new(80, 24);
        Skirmish::picture(&battle, Some(Seat(3)), &mut canvas);
        let text = canvas.to_string();
        assert!(
            text.starts_with(
                "3:00 left   team 0: 0   team 1: 0   60 kills win\n@ you are #3   health ██████████ 100"
            ),
            "{text}"
        );
        assert!(
            text.contains("blast ready   kills 0, deaths 0") && text.contains('▒') && text.contains('┌'),
            "{text}"
        );
        let list = |text: &str| -> Vec<String> {
            let lines = text.lines().skip(usize::from(HEAD));
            lines.map(|line| line.chars().skip(usize::from(81 - LIST)).collect()).collect()
        };
        let map = |text: &str| -> String {
            let lines = text.lines().skip(usize::from(HEAD));
            lines.flat_map(|line| line.chars().take(usize::from(80 - LIST))).collect()
        };
        let (list, map) = (list(&text), map(&text));
        assert_eq!(list[3], "@ #3  ██████████     0/0");
        assert_eq!(list.len(), 22);
        assert_eq!((&*list[9], &*list[10]), ("  #9  ██████████     0/0", ""));
        assert!(map.contains('@'), "{text}");
        // Who stands behind another one is hidden; most are seen.
        assert!(('0'..='9').filter(|seat| map.contains(*seat)).count() >= 6, "{text}");
        let mut seen = Canvas::new(80, 24);
        Skirmish::picture(&battle, None, &mut seen);
        assert!(!seen.to_string().contains('@'));
        // Seats that are none, and canvases that hold nothing, are drawn too.
        for (columns, rows) in [(0, 0), (1, 1), (10, 3), (80, 1), (80, 5), (400, 200)] {
            Skirmish::picture(&battle, Some(Seat(99)), &mut Canvas::new(columns, rows));
        }
        let mut low = Canvas::new(80, 8);
        Skirmish::picture(&battle, None, &mut low);
        assert!(low.to_string().ends_with("and 5 more\n"), "{low}");
    }

    #[test]
    fn a_blast_is_seen_for_a_moment_by_whoever_looks_at_the_state_alone() {
        let mut battle = battle(7);
        let mut record = TickRecord::neutral(Tick::ZERO, 0);
        let mut blasts: Vec<u32> = Vec::new();
        let mut seen = 0;
        for tick in 1..=900 {
            battle.bot_record(&mut record);
            battle.step(&record);
            let is_blast = |event: &Event| event.kind() == Some(EventKind::Blast);
            if battle.events().iter().any(is_blast) {
                blasts.push(tick);
            }
            let mut canvas = Canvas::new(70, 40);
            Skirmish::picture(&battle, None, &mut canvas);
            let fresh = blasts.last().is_some_and(|blast| tick - blast < 12);
            assert_eq!(canvas.to_string().contains('*'), fresh, "tick {tick}:\n{canvas}");
            seen += u32::from(fresh);
        }
        assert!(blasts.len() > 3 && seen < 800, "{blasts:?}");
    }

    #[test]
    fn a_player_at_the_keys_walks_fires_and_is_told_of_it() {
        let mut battle = battle(3);
        let mut record = TickRecord::neutral(Tick::ZERO, 0);
        let (seat, mut lines, mut shots) = (Seat(0), Vec::new(), 0);
        let keys = Keys::new([Key::Char('d'), Key::Char(' '), Key::Char('e')]);
        let place = |battle: &Battle<Skirmish>| battle.world().rows::<Puppet>().read::<Position>()[0].at;
        let began = place(&battle);
        for tick in 0..1_800 {
            battle.bot_record(&mut record);
            let input = Skirmish::steer(battle.world(), seat, &keys);
            assert!(Skirmish::check(&input), "{input:?}");
            record.inputs[0] = SeatInput { input, reason: Reason::Arrived };
            battle.step(&record);
            if tick == 20 {
                assert!(place(&battle).x > began.x + 1.0, "{began} to {}", place(&battle));
            }
            lines.extend(
                battle
                    .events()
                    .iter()
                    .filter_map(|event| Skirmish::describe(battle.world(), Some(seat), event)),
            );
            let flyers = battle.world().rows::<Flyer>();
            shots += flyers.read::<Flight>().iter().filter(|flight| flight.owner == ActorId(1)).count();
        }
        assert!(shots > 100, "{shots}");
        for part in
            ["you hit #", "you killed #", " hit you for ", " killed you", "you are back", "you made a blast"]
        {
            assert!(lines.iter().any(|line| line.contains(part)), "{part}");
        }
        assert!(!lines.iter().any(|line| line.contains("stray")));
    }

    #[test]
    fn whoever_holds_a_key_walks_until_something_stands_in_the_way() {
        let keys = Keys::new([Key::Char('d')]);
        for seed in 0..20 {
            let mut battle = battle(seed);
            let place = |battle: &Battle<Skirmish>| battle.world().rows::<Puppet>().read::<Position>()[0].at;
            let began = place(&battle);
            let mut record = TickRecord::neutral(Tick::ZERO, battle.spec().roster.len());
            for tick in 1..=20 {
                record.tick = Tick(tick);
                let input = Skirmish::steer(battle.world(), Seat(0), &keys);
                record.inputs[0] = SeatInput { input, reason: Reason::Arrived };
                battle.step(&record);
            }
            let before = place(&battle) + Vec2::X * (PUPPET_RADIUS + 0.01);
            let blocks = battle.world().rows::<Obstacle>().read::<Block>();
            let stopped = blocks.iter().any(|block| block.rect().contains(before));
            let walked = place(&battle).x - began.x;
            assert!(walked > 1.0 || stopped, "seed {seed}: {walked} m from {began}");
        }
    }

    #[test]
    fn with_no_key_held_one_stands_still_and_holds_fire() {
        let battle = battle(7);
        let input = Skirmish::steer(battle.world(), Seat(1), &Keys::default());
        assert_eq!((input.move_x, input.move_y, input.buttons), (0, 0, 0));
        assert_eq!(Skirmish::steer(battle.world(), Seat(999), &Keys::default()), Input::default());
    }
}
