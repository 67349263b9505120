//! Makes matches out of tickets. Pure: the same tickets at the same time give the same matches, in whatever
//! order the tickets are handed in.
//!
//! The oldest tickets are served first; of equal age, the one with the smallest player number. A ticket that
//! does not fit any team is passed over for a later one that does, and waits for the next match. Parties stay
//! together. Once a match is full, its tickets are dealt again so that the teams' ratings come close.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

/// A ticket, as far as matching goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Its number.
    pub id: u64,
    /// Numbers of its players, at least one.
    pub players: Vec<u64>,
    /// Mean rating of its players.
    pub rating: i32,
    /// Since when it waits, in milliseconds of the clock that `now_ms` is of.
    pub queued_ms: u64,
}

/// The shape of a mode's matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Teams.
    pub teams: u8,
    /// Seats a team.
    pub seats_per_team: u16,
    /// After this wait of the oldest ticket the free seats are given to bots; never, if nothing.
    pub bots_after_ms: Option<u64>,
}

/// A match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// For each team its tickets; what is left of a team's seats is for bots.
    pub teams: Vec<Vec<u64>>,
    /// Seats for bots.
    pub bots: u32,
}

/// All matches that can be made now. The cost grows with the tickets, their order by age included, times the
/// different sizes that parties have.
pub fn make_matches(tickets: &[Ticket], rules: &Rules, now_ms: u64) -> Vec<Match> {
    let mut waiting = Waiting::new(tickets, rules);
    let mut matches = Vec::new();
    while let Some(oldest) = waiting.oldest(usize::from(rules.seats_per_team)) {
        let waited_ms = now_ms.saturating_sub(oldest.queued_ms);
        let teams = fill(&mut waiting, rules);
        let seated: usize = teams.iter().map(|team| team.size).sum();
        let bots = usize::from(rules.teams) * usize::from(rules.seats_per_team) - seated;
        if bots > 0 && rules.bots_after_ms.is_none_or(|after| waited_ms < after) {
            break;
        }
        let teams = balance(teams, rules);
        matches.push(Match {
            teams: teams
                .into_iter()
                .map(|team| team.tickets.iter().map(|ticket| ticket.id).collect())
                .collect(),
            bots: u32::try_from(bots).expect("no more seats than u8 teams of u16 seats"),
        });
    }
    matches
}

/// The tickets that are in no match yet, by how many players each has; of one size the oldest first.
struct Waiting<'a>(BTreeMap<usize, VecDeque<&'a Ticket>>);

impl<'a> Waiting<'a> {
    fn new(tickets: &'a [Ticket], rules: &Rules) -> Self {
        let fitting = 1..=usize::from(rules.seats_per_team);
        let mut in_order: Vec<&Ticket> =
            tickets.iter().filter(|ticket| fitting.contains(&ticket.players.len())).collect();
        in_order.sort_by_cached_key(|ticket| age(ticket));
        let mut by_size: BTreeMap<usize, VecDeque<&Ticket>> = BTreeMap::new();
        for ticket in in_order {
            by_size.entry(ticket.players.len()).or_default().push_back(ticket);
        }
        Self(by_size)
    }

    /// The oldest ticket of at most so many players.
    fn oldest(&self, players_max: usize) -> Option<&'a Ticket> {
        let heads = self.0.range(..=players_max).filter_map(|(_, queue)| queue.front().copied());
        heads.min_by_key(|ticket| age(ticket))
    }

    fn take_oldest(&mut self, players_max: usize) -> Option<&'a Ticket> {
        let oldest = self.oldest(players_max)?;
        self.0.get_mut(&oldest.players.len())?.pop_front()
    }
}

/// What tickets are served by, the smallest first.
fn age(ticket: &Ticket) -> (u64, Option<u64>, u64) {
    (ticket.queued_ms, ticket.players.iter().min().copied(), ticket.id)
}

#[derive(Debug, Clone, Default)]
struct Team<'a> {
    tickets: Vec<&'a Ticket>,
    /// Players on them.
    size: usize,
}

impl<'a> Team<'a> {
    fn seat(&mut self, ticket: &'a Ticket) {
        self.size += ticket.players.len();
        self.tickets.push(ticket);
    }

    fn rating(&self) -> i64 {
        self.tickets.iter().map(|ticket| weight(ticket)).sum()
    }
}

fn weight(ticket: &Ticket) -> i64 {
    i64::from(ticket.rating) * i64::try_from(ticket.players.len()).unwrap_or(i64::MAX)
}

/// Gives the oldest ticket that fits into the emptiest team to it, until none does. A ticket that was passed over
/// fits no later either, as the emptiest team only gets fuller.
fn fill<'a>(waiting: &mut Waiting<'a>, rules: &Rules) -> Vec<Team<'a>> {
    let mut teams = vec![Team::default(); usize::from(rules.teams)];
    loop {
        let Some(emptiest) = teams.iter_mut().min_by_key(|team| team.size) else { return teams };
        let room = usize::from(rules.seats_per_team) - emptiest.size;
        let Some(ticket) = waiting.take_oldest(room) else { return teams };
        emptiest.seat(ticket);
    }
}

/// Deals the tickets of a match again, the heaviest first, each to the weakest team with room; keeps the new
/// teams if they all fit, their sizes come no further apart, and their ratings come closer.
fn balance<'a>(teams: Vec<Team<'a>>, rules: &Rules) -> Vec<Team<'a>> {
    let mut tickets: Vec<&Ticket> = teams.iter().flat_map(|team| team.tickets.iter().copied()).collect();
    tickets.sort_unstable_by_key(|ticket| {
        (Reverse(ticket.players.len()), Reverse(ticket.rating), ticket.players.iter().min().copied())
    });
    // No team may get larger than the largest was, so that a match with bots stays evenly filled.
    let size_max = teams.iter().map(|team| team.size).max().unwrap_or(0).min(rules.seats_per_team.into());
    let mut dealt = vec![Team::default(); teams.len()];
    for ticket in tickets {
        let weakest = dealt
            .iter_mut()
            .filter(|team| team.size + ticket.players.len() <= size_max)
            .min_by_key(|team| (team.rating(), team.size));
        let Some(team) = weakest else { return teams };
        team.seat(ticket);
    }
    if spread(&dealt, |team| team.rating()) < spread(&teams, |team| team.rating())
        && spread(&dealt, |team| team.size as i64) <= spread(&teams, |team| team.size as i64)
    {
        dealt
    } else {
        teams
    }
}

fn spread(teams: &[Team<'_>], measure: impl Fn(&Team<'_>) -> i64) -> i64 {
    let most = teams.iter().map(&measure).max().unwrap_or(0);
    most - teams.iter().map(&measure).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Match, Rules, Ticket, make_matches};

    const FIVES: Rules = Rules { teams: 2, seats_per_team: 5, bots_after_ms: Some(1_000) };

    fn ticket(id: u64, party: u64, rating: i32, queued_ms: u64) -> Ticket {
        Ticket { id, players: (0..party).map(|n| id * 100 + n).collect(), rating, queued_ms }
    }

    fn singles(count: u64) -> Vec<Ticket> {
        (0..count).map(|id| ticket(id, 1, 1500, 0)).collect()
    }

    fn sizes(of: &Match, tickets: &[Ticket]) -> Vec<usize> {
        let size = |id: &u64| tickets.iter().find(|ticket| ticket.id == *id).unwrap().players.len();
        of.teams.iter().map(|team| team.iter().map(size).sum()).collect()
    }

    #[test]
    fn a_full_match_is_made_at_once_and_the_rest_waits() {
        let made = make_matches(&singles(23), &FIVES, 0);
        assert_eq!(made.len(), 2);
        assert!(made.iter().all(|one| one.bots == 0 && one.teams.iter().all(|team| team.len() == 5)));
        assert!(make_matches(&singles(9), &FIVES, 999).is_empty());
        assert!(make_matches(&[], &FIVES, 999).is_empty());
    }

    #[test]
    fn bots_fill_after_the_wait_and_not_before_and_not_where_the_mode_has_none() {
        let waiting = singles(3);
        assert!(make_matches(&waiting, &FIVES, 999).is_empty());
        let made = make_matches(&waiting, &FIVES, 1_000);
        assert_eq!((made.len(), made[0].bots), (1, 7));
        assert_eq!(sizes(&made[0], &waiting), [2, 1]);
        let never = Rules { bots_after_ms: None, ..FIVES };
        assert!(make_matches(&waiting, &never, u64::MAX).is_empty());
    }

    #[test]
    fn the_order_in_which_tickets_are_handed_in_changes_nothing() {
        let mut tickets: Vec<_> = (0..60)
            .map(|id| ticket(id, 1 + id % 3, 1000 + i32::try_from(id * 37 % 900).unwrap(), id % 4))
            .collect();
        let expected = make_matches(&tickets, &FIVES, 500);
        assert!(expected.len() >= 8);
        for round in 0..50 {
            let turn = (round * 7 + 1) % tickets.len();
            tickets.rotate_left(turn);
            tickets.swap(0, round);
            assert_eq!(make_matches(&tickets, &FIVES, 500), expected);
        }
    }

    #[test]
    fn the_oldest_play_first() {
        let mut tickets = singles(11);
        for (ticket, age) in tickets.iter_mut().zip([9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 10]) {
            ticket.queued_ms = age;
        }
        let made = make_matches(&tickets, &FIVES, 10);
        let mut played: Vec<_> = made[0].teams.concat();
        played.sort_unstable();
        assert_eq!(played, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn parties_stay_together_and_what_does_not_fit_waits() {
        let tickets: Vec<_> =
            [3, 3, 3, 2, 2].into_iter().zip(0..).map(|(party, id)| ticket(id, party, 1500, id)).collect();
        let made = make_matches(&tickets, &FIVES, 10);
        assert_eq!(made.len(), 1);
        assert_eq!(sizes(&made[0], &tickets), [5, 5]);
        assert!(!made[0].teams.concat().contains(&2), "the third party of three cannot fit");
        assert!(make_matches(&[ticket(1, 6, 1500, 0)], &FIVES, 5_000).is_empty());
    }

    #[test]
    fn teams_come_close_in_rating_and_stay_even_in_size() {
        let ratings = [3000, 2900, 2000, 1900, 1500, 1400, 1000, 900, 500, 400];
        let tickets: Vec<_> =
            ratings.into_iter().zip(0..).map(|(rating, id)| ticket(id, 1, rating, 0)).collect();
        let made = make_matches(&tickets, &FIVES, 0);
        let sum =
            |team: &[u64]| -> i32 { team.iter().map(|&id| ratings[usize::try_from(id).unwrap()]).sum() };
        assert_eq!(sizes(&made[0], &tickets), [5, 5]);
        assert!((sum(&made[0].teams[0]) - sum(&made[0].teams[1])).abs() <= 100);
        let made = make_matches(&tickets[..3], &FIVES, 1_000);
        assert_eq!(sizes(&made[0], &tickets).into_iter().max(), Some(2));
    }

    #[test]
    fn every_ticket_is_in_at_most_one_match() {
        let tickets: Vec<_> = (0..200).map(|id| ticket(id, 1 + id % 4, 1500, id)).collect();
        let mut played: Vec<_> =
            make_matches(&tickets, &FIVES, 100_000).iter().flat_map(|one| one.teams.concat()).collect();
        let count = played.len();
        played.sort_unstable();
        played.dedup();
        assert_eq!(played.len(), count);
        assert_eq!(count, 200, "with bots everybody plays");
    }

    /// What the first page of this file says, ticket by ticket.
    fn plainly(tickets: &[Ticket], rules: &Rules, now_ms: u64) -> Vec<BTreeSet<u64>> {
        let seats = usize::from(rules.seats_per_team);
        let mut waiting: Vec<&Ticket> =
            tickets.iter().filter(|ticket| (1..=seats).contains(&ticket.players.len())).collect();
        waiting.sort_by_key(|ticket| (ticket.queued_ms, ticket.players.iter().min().copied(), ticket.id));
        let mut matches = Vec::new();
        while let Some(oldest) = waiting.first().copied() {
            let mut sizes = vec![0; usize::from(rules.teams)];
            let (mut seated, mut passed_over) = (BTreeSet::new(), Vec::new());
            for ticket in waiting {
                let emptiest = sizes.iter_mut().min().unwrap();
                if *emptiest + ticket.players.len() <= seats {
                    *emptiest += ticket.players.len();
                    seated.insert(ticket.id);
                } else {
                    passed_over.push(ticket);
                }
            }
            let full = sizes.iter().all(|size| *size == seats);
            if !full && rules.bots_after_ms.is_none_or(|after| now_ms - oldest.queued_ms < after) {
                break;
            }
            matches.push(seated);
            waiting = passed_over;
        }
        matches
    }

    #[test]
    fn random_queues_are_matched_as_it_is_said() {
        let seed: u64 = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
        eprintln!("SEED={seed}");
        let mut state = seed;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for _ in 0..500 {
            let rules = Rules {
                teams: u8::try_from(1 + random(4)).unwrap(),
                seats_per_team: u16::try_from(1 + random(6)).unwrap(),
                bots_after_ms: [None, Some(10), Some(0)][random(3) as usize],
            };
            let (count, parties) = (random(60), 1 + random(7));
            let tickets: Vec<_> = (0..count)
                .map(|id| ticket(id, 1 + random(parties), i32::try_from(random(3_000)).unwrap(), random(20)))
                .collect();
            let made: Vec<BTreeSet<u64>> = make_matches(&tickets, &rules, 20)
                .iter()
                .map(|one| one.teams.iter().flatten().copied().collect())
                .collect();
            assert_eq!(made, plainly(&tickets, &rules, 20), "{rules:?} {tickets:?}");
        }
    }

    #[test]
    fn free_for_all_with_one_seat_a_team_works() {
        let rules = Rules { teams: 8, seats_per_team: 1, bots_after_ms: None };
        let made = make_matches(&singles(17), &rules, 0);
        assert_eq!(made.len(), 2);
        assert!(made.iter().all(|one| one.teams.iter().all(|team| team.len() == 1)));
    }
}
