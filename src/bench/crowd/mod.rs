//! Scene crowd: how many users one core holds when every one of them moves, looks over a rectangle and makes a blast in
//! every tick, and a tick may take 20 ms.

mod game;
mod limit;
mod measure;

pub(super) use self::measure::{describe, measure, object};

#[cfg(test)]
mod tests {
    use tiltyard_engine::glam::Vec2;
    use tiltyard_engine::kit::motion::{Position, Velocity};
    use tiltyard_engine::{Battle, Game as _, Tick, TickRecord};

    use super::game::{ARMOUR, BLAST_RADIUS, Body, Crowd, Deed, HEALTH, Home, Setup, Sight, User};

    fn compare(setup: Setup, seed: u64, ticks: u32) -> Battle<Crowd> {
        let spec = setup.spec(seed);
        let mut battle = Battle::new(spec.clone()).expect("it starts");
        let mut oracle = Crowd::oracle(&spec).expect("the crowd has one");
        for tick in 1..=ticks {
            let record = TickRecord::neutral(Tick(tick), 1);
            let expected = battle.step(&record);
            assert_eq!(oracle(&record), expected, "{setup:?} seed {seed} tick {tick}");
        }
        battle
    }

    #[test]
    fn crowd_and_limit_end_every_tick_in_the_same_state() {
        for users in [1, 2, 700, 6000] {
            for setup in [Setup::uniform(users), Setup::clustered(users)] {
                compare(setup, u64::from(users), 20);
            }
        }
    }

    /// The rules once more, without any index: everybody is compared with everybody.
    #[test]
    fn everybody_sees_and_suffers_what_is_within_reach() {
        let setup = Setup { cluster_half: 60.0, clusters: 2, ..Setup::uniform(400) };
        let spec = setup.spec(9);
        let (seconds, seed) = (spec.terms.rate.seconds_per_tick(), spec.terms.seed);
        let mut battle = Battle::<Crowd>::new(spec).expect("it starts");
        let (mut seen, mut falls) = (0, 0);
        for tick in 1..=60 {
            let users = battle.world().rows::<User>();
            let walked: Vec<Vec2> = users
                .read::<Position>()
                .iter()
                .zip(&*users.read::<Velocity>())
                .zip(&*users.read::<Home>())
                .map(|((position, velocity), home)| {
                    (position.at + velocity.per_second * seconds).clamp(home.min, home.max)
                })
                .collect();
            let before: Vec<Body> = users.read::<Body>().to_vec();
            battle.step(&TickRecord::neutral(Tick(tick), 1));
            let users = battle.world().rows::<User>();
            let (bodies, sights) = (users.read::<Body>(), users.read::<Sight>());
            for row in 0..walked.len() {
                let deed = |row: usize| Deed::draw(seed, tick, row as u32 + 1);
                let (low, high) = (walked[row] - deed(row).look, walked[row] + deed(row).look);
                let those = (0..walked.len())
                    .filter(|other| walked[*other].cmpge(low).all() && walked[*other].cmple(high).all());
                let sight = those.fold(Sight::default(), |sight, other| Sight {
                    users: sight.users + 1,
                    health: sight.health + before[other].health as u32,
                });
                assert_eq!(sights[row], sight, "tick {tick} row {row}");
                let reach = |other: &usize| {
                    *other != row
                        && (walked[*other] - walked[row]).length_squared() <= BLAST_RADIUS * BLAST_RADIUS
                };
                let power: u32 = (0..walked.len()).filter(reach).map(|other| deed(other).power).sum();
                let left = before[row].health - (power / ARMOUR) as i32;
                let expected = match left {
                    1.. => Body { health: left, falls: before[row].falls },
                    _ => Body { health: HEALTH, falls: before[row].falls + 1 },
                };
                assert_eq!(bodies[row], expected, "tick {tick} row {row}");
                seen += sight.users;
                falls += u32::from(left <= 0);
            }
        }
        assert!(seen > 60 * 400 * 20 && falls > 200, "{seen} seen, {falls} fell");
    }
}
