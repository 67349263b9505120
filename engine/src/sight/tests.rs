//! Sight with a game of thieves and stones.

use glam::{Vec2, vec2};

use super::*;
use crate::kit::motion::Position;
use crate::kit::reach::Reach;
use crate::{Changes, Hashes, RegistryError, WorldMut, record};

record! {
    struct Purse { coins: u32 }
    struct Past { before: u32 }
    struct Plan { target: u32 }
}
crate::kind! {
    struct Thief { place: Position, purse: Purse, past: Past }
    struct Stone { place: Position }
}

struct Fog;

impl Game for Fog {
    const NAME: &'static str = "fog";
    type Input = Plan;
    type Event = Plan;
    type Setup = Plan;
    type Scratch = ();

    fn components(registry: &mut Registry) {
        registry.kind::<Thief>().kind::<Stone>().hidden_singleton::<Plan>();
        registry.shown_to::<Thief, Purse>(Audience::Owner).shown_to::<Thief, Past>(Audience::Nobody);
    }
    fn systems(_: &mut crate::Schedule<Self>) {}
    fn modes() -> Vec<crate::Mode<Plan>> {
        Vec::new()
    }
    fn spawn(_: &mut crate::Stage<'_, Self>) {}
    fn missing(last: &Plan, _: u16) -> Plan {
        *last
    }
    fn check(_: &Plan) -> bool {
        true
    }
    fn bot(_: &World, _: Seat, _: &mut crate::rng::Rng) -> Plan {
        Plan::default()
    }
    fn outcome(_: &World, _: &crate::Terms) -> Option<crate::Outcome> {
        None
    }
    fn puppet(world: &World, seat: Seat) -> Option<ActorId> {
        world.rows::<Thief>().ids().get(seat.index()).copied()
    }
    fn sight(world: &World, _: u16, sight: &mut Sight<'_>) {
        Reach { enter: 10.0, leave: 12.0 }.see::<Stone>(world, &[Vec2::ZERO], sight);
    }
}

/// Two thieves, and a stone at each of these distances.
fn world(stones: &[f32]) -> World {
    let mut world = World::new(Registry::of::<Fog>().unwrap());
    let mut changes = Changes::new(world.registry());
    for coins in [7, 8] {
        let (purse, past) = (Purse { coins }, Past { before: 3 });
        changes.spawn(ActorId::NONE, Thief { place: Position::default(), purse, past });
    }
    for x in stones {
        changes.spawn(ActorId::NONE, Stone { place: Position { at: vec2(*x, 0.0) } });
    }
    WorldMut::new(&mut world).singleton_mut::<Plan>().target = 5;
    world.apply(&mut changes);
    world.close(&mut Hashes::default());
    world
}

fn save(world: &mut World) -> Save {
    let (mut save, mut hashes) = (Save::default(), Hashes::default());
    world.close(&mut hashes);
    save.take(world, &hashes);
    save
}

/// What a view of the first thief is shown: the world of it.
fn shown(world: &mut World, lookout: &mut Lookout) -> World {
    let (mut seen, mut part) = (Seen::default(), Save::default());
    lookout.look::<Fog>(world, 1, &[Seat(0)], &mut seen);
    save(world).select(world.registry(), &seen, Audience::Everybody, &mut part);
    part.rehash(world.registry());
    part.check(world.registry()).expect("a part of a state is a state");
    let mut shown = World::new(Registry::of::<Fog>().unwrap());
    part.put(&mut shown);
    shown
}

#[test]
fn who_walks_along_the_edge_does_not_come_and_go() {
    let mut world = world(&[9.0]);
    let mut lookout = Lookout::new(world.registry());
    for (x, expected) in
        [(10.1, 0), (10.0, 1), (10.1, 1), (12.0, 1), (12.1, 0), (12.0, 0), (10.1, 0), (9.0, 1)]
    {
        WorldMut::new(&mut world).rows::<Stone>().write::<Position>()[0].at.x = x;
        assert_eq!(shown(&mut world, &mut lookout).rows::<Stone>().len(), expected, "at {x}");
    }
}

#[test]
fn sight_follows_actors_when_rows_shift() {
    let mut world = world(&[50.0, 11.0, 11.0, 9.0]);
    let mut lookout = Lookout::new(world.registry());
    let ids = |world: &World| world.rows::<Stone>().ids().to_vec();
    assert_eq!(ids(&shown(&mut world, &mut lookout)), [ActorId(6)]);
    // The first is gone, and the last moves to where only those stay who were in sight.
    let mut changes = Changes::new(world.registry());
    changes.despawn(ActorId(3));
    world.apply(&mut changes);
    WorldMut::new(&mut world).rows::<Stone>().write::<Position>()[2].at.x = 11.0;
    assert_eq!(ids(&shown(&mut world, &mut lookout)), [ActorId(6)]);
}

#[test]
fn all_rows_are_seen_at_each_edge_of_a_word_of_bits() {
    for count in [0, 1, 63, 64, 65, 128, 200] {
        let mut world = world(&vec![1.0; count]);
        let mut lookout = Lookout::new(world.registry());
        assert_eq!(shown(&mut world, &mut lookout).rows::<Stone>().len(), count);
        let (mut kind, mut rows) = (KindSight::default(), Vec::new());
        kind.begin(&world.ids(1));
        kind.fill();
        kind.end(&world.ids(1), &mut rows);
        assert!(rows.iter().copied().eq(0..count as u32));
    }
}

#[test]
fn a_view_has_its_own_bodies_and_no_record_of_another_audience() {
    let mut world = world(&[50.0, 60.0]);
    let mut lookout = Lookout::new(world.registry());
    let view = shown(&mut world, &mut lookout);
    assert_eq!(*view.rows::<Thief>().ids(), [ActorId(1)]);
    assert_eq!(view.rows::<Thief>().read::<Purse>()[0].coins, 0);
    assert_eq!(view.rows::<Thief>().read::<Past>()[0].before, 0);
    assert_eq!(view.singleton::<Plan>().target, 0);
    assert_eq!(view.next_actor, 2, "how many there are beside stays unknown");
    assert_eq!(world.next_actor, 5);
}

#[test]
fn the_owner_alone_gets_what_is_private() {
    let mut world = world(&[1.0]);
    let (whole, registry) = (save(&mut world), Registry::of::<Fog>().unwrap());
    let private = |actor| {
        let (mut seen, mut part) = (Seen::default(), Save::default());
        seen.only(&world, actor);
        whole.select(&registry, &seen, Audience::Owner, &mut part);
        part.rehash(&registry);
        part.check(&registry).expect("it is a state");
        part
    };
    let part = |private: &Save| {
        let (mut seen, mut part) = (Seen::default(), Save::default());
        Lookout::new(&registry).look::<Fog>(&world, 1, &[Seat(0)], &mut seen);
        whole.select(&registry, &seen, Audience::Everybody, &mut part);
        part.add_private(&registry, private).map(|()| {
            let mut shown = World::new(Registry::of::<Fog>().unwrap());
            part.put(&mut shown);
            shown
        })
    };
    let shown = part(&private(Some(ActorId(1)))).expect("the first thief is in its own view");
    assert_eq!(shown.rows::<Thief>().read::<Purse>()[0].coins, 7);
    assert_eq!(shown.rows::<Thief>().read::<Past>()[0].before, 0);
    assert_eq!(shown.singleton::<Plan>().target, 0);
    assert_eq!(part(&private(Some(ActorId(2)))).err(), Some(NotOwn), "not in sight");
    assert_eq!(part(&whole).err(), Some(NotOwn), "more than one");
    assert!(part(&private(None)).is_ok(), "nobody's body");
}

#[test]
fn an_audience_is_for_a_record_that_is_there() {
    struct Wrong;
    impl Game for Wrong {
        const NAME: &'static str = "wrong";
        type Input = Plan;
        type Event = Plan;
        type Setup = Plan;
        type Scratch = ();

        fn components(registry: &mut Registry) {
            registry.kind::<Stone>().shown_to::<Stone, Purse>(Audience::Owner);
        }
        fn systems(_: &mut crate::Schedule<Self>) {}
        fn modes() -> Vec<crate::Mode<Plan>> {
            Vec::new()
        }
        fn spawn(_: &mut crate::Stage<'_, Self>) {}
        fn missing(last: &Plan, _: u16) -> Plan {
            *last
        }
        fn check(_: &Plan) -> bool {
            true
        }
        fn bot(_: &World, _: Seat, _: &mut crate::rng::Rng) -> Plan {
            Plan::default()
        }
        fn outcome(_: &World, _: &crate::Terms) -> Option<crate::Outcome> {
            None
        }
    }
    let problem = Registry::of::<Wrong>().unwrap_err();
    assert_eq!(problem, RegistryError::Audience { kind: "Stone", record: "Purse" });
    let text = Registry::of::<Fog>().unwrap().layout::<Fog>();
    assert!(
        text.contains(
            "\naudience Thief Purse Owner\naudience Thief Past Nobody\naudience Plan Plan Nobody\n"
        )
    );
}
