//! What a battle's result makes of its players: a pure function, so that a result that is told again changes nothing.
//!
//! Ratings are Weng and Lin's, by the crate skillratings. What is kept of one is by how much it differs from a
//! newcomer's, in millionths: the avatar of somebody who never fought is all zeros, and a store can add to it.

use std::collections::BTreeMap;

use skillratings::MultiTeamOutcome;
use skillratings::weng_lin::{WengLinConfig, WengLinRating, weng_lin_multi_team};
use tiltyard_cluster::control::{BattleEnd, Settlement};

use crate::store::{Avatar, AvatarChange, BattleRow};

/// What the matchmaker reckons a newcomer's rating as.
pub(crate) const NEWCOMER: i32 = 1_500;
/// What it reckons a point of a rating as.
const POINT: i64 = 60;
/// A rating is at most so far from a newcomer's, whatever is stored.
const RATING_MICRO_MAX: i64 = 1_000_000_000;
/// No rating is more certain than this.
const UNCERTAINTY_MIN: f64 = 0.1;

/// What the result changes for each human player. Only what was played to its end counts, and the rating changes only
/// where people of two teams met.
pub(crate) fn changes(
    row: &BattleRow,
    settlement: &Settlement,
    avatars: &BTreeMap<u64, Avatar>,
) -> Vec<AvatarChange> {
    if settlement.ended != BattleEnd::Finished {
        return Vec::new();
    }
    let mut teams: BTreeMap<u8, (Vec<u64>, Vec<WengLinRating>)> = BTreeMap::new();
    for seat in &row.seats {
        let (players, ratings) = teams.entry(seat.team).or_default();
        players.push(seat.player);
        // A bot is no player who gets better.
        let avatar = if seat.bot { None } else { avatars.get(&seat.player) };
        ratings.push(avatar.map_or_else(WengLinRating::new, rating));
    }
    let with_people = row.humans().map(|seat| seat.team).collect::<std::collections::BTreeSet<_>>().len();
    let before: Vec<_> = teams
        .iter()
        .map(|(team, (_, ratings))| {
            let behind = settlement.winner.is_some_and(|winner| winner != *team);
            (ratings.as_slice(), MultiTeamOutcome::new(if behind { 2 } else { 1 }))
        })
        .collect();
    let after = weng_lin_multi_team(&before, &WengLinConfig::new());
    let mut moved: BTreeMap<u64, (i64, i64)> = BTreeMap::new();
    for ((players, ratings), after) in teams.values().zip(after) {
        for ((player, before), after) in players.iter().zip(ratings).zip(after) {
            let by = (micro(after.rating - before.rating), micro(after.uncertainty - before.uncertainty));
            moved.insert(*player, by);
        }
    }
    row.humans()
        .map(|seat| {
            let by = if with_people > 1 { moved.get(&seat.player).copied() } else { None };
            let (rating_micro, uncertainty_micro) = by.unwrap_or_default();
            let won = settlement.winner == Some(seat.team);
            AvatarChange { player: seat.player, won, rating_micro, uncertainty_micro }
        })
        .collect()
}

/// What the matchmaker balances teams by.
pub(crate) fn for_matches(avatar: &Avatar) -> i32 {
    let above = avatar.rating_micro.clamp(-RATING_MICRO_MAX, RATING_MICRO_MAX) * POINT / 1_000_000;
    i32::try_from(above).map_or(NEWCOMER, |above| NEWCOMER + above)
}

fn rating(avatar: &Avatar) -> WengLinRating {
    let newcomer = WengLinRating::new();
    let above = avatar.rating_micro.clamp(-RATING_MICRO_MAX, RATING_MICRO_MAX);
    let less = avatar.uncertainty_micro.clamp(-RATING_MICRO_MAX, 0);
    WengLinRating {
        rating: newcomer.rating + whole(above),
        uncertainty: (newcomer.uncertainty + whole(less)).max(UNCERTAINTY_MIN),
    }
}

/// At most a thousand millions, which is exact.
fn whole(micro: i64) -> f64 {
    micro as f64 / 1e6
}

/// What is no number is nothing, and what is too much is bounded: a cast from a float saturates.
fn micro(points: f64) -> i64 {
    ((points * 1e6).round() as i64).clamp(-RATING_MICRO_MAX, RATING_MICRO_MAX)
}

#[cfg(test)]
mod tests {
    use tiltyard_cluster::{BattleId, Epoch, NodeId};

    use super::*;
    use crate::store::{BattleState, RowSeat};

    /// Seats as (team, player); players from 100 on are bots.
    fn row(seats: &[(u8, u64)]) -> BattleRow {
        let seat = |(seat, &(team, player)): (usize, &(u8, u64))| RowSeat {
            seat: u16::try_from(seat).unwrap(),
            team,
            player,
            name: "n".into(),
            bot: player >= 100,
            loadout: 0,
        };
        BattleRow {
            battle: BattleId(1),
            epoch: Epoch::FIRST,
            state: BattleState::Running,
            mode: "mode".into(),
            protocol_hash: [0; 16],
            seed: 0,
            rate_hz: 30,
            ticks_max: 1,
            seats: seats.iter().enumerate().map(seat).collect(),
            created_unix_ms: 0,
            kid: 1,
            node: None,
            addresses: vec![],
            result: None,
        }
    }

    fn changed(
        seats: &[(u8, u64)],
        ended: BattleEnd,
        winner: Option<u8>,
        avatars: &[(u64, i64, i64)],
    ) -> Vec<(u64, bool, i64, i64)> {
        let settlement = Settlement {
            battle: BattleId(1),
            epoch: Epoch::FIRST,
            node: NodeId::parse("node").unwrap(),
            ticks: 1,
            winner,
            scores: vec![],
            final_hash: 0,
            recording_hash: [0; 32],
            ended,
        };
        let avatars = avatars.iter().map(|&(player, rating_micro, uncertainty_micro)| {
            (player, Avatar { rating_micro, uncertainty_micro, ..Avatar::default() })
        });
        let made = changes(&row(seats), &settlement, &avatars.collect());
        made.iter().map(|it| (it.player, it.won, it.rating_micro, it.uncertainty_micro)).collect()
    }

    const DUEL: [(u8, u64); 2] = [(0, 1), (1, 2)];

    #[test]
    fn who_wins_rises_by_what_the_other_falls_and_both_are_known_better() {
        let made = changed(&DUEL, BattleEnd::Finished, Some(1), &[]);
        let [(1, false, down, known), (2, true, up, known_too)] = made[..] else { panic!("{made:?}") };
        assert_eq!((down, known), (-up, known_too));
        assert!((2_000_000..3_000_000).contains(&up), "{up}");
        assert!((-1_000_000..0).contains(&known), "{known}");
    }

    #[test]
    fn a_surprise_moves_more_than_what_was_expected_and_a_draw_pulls_together() {
        let strong = [(2, 5_000_000, -2_000_000)];
        let up = |winner| changed(&DUEL, BattleEnd::Finished, winner, &strong)[0].2;
        assert!(up(Some(0)) > 2_500_000 && up(None) > 0);
        assert!(up(Some(0)).abs() > up(Some(1)).abs());
    }

    #[test]
    fn what_was_not_finished_counts_for_nothing_and_bots_raise_nobody() {
        for ended in [BattleEnd::Aborted, BattleEnd::Abandoned] {
            assert_eq!(changed(&DUEL, ended, Some(0), &[]), []);
        }
        let made = changed(&[(0, 1), (0, 100), (1, 101), (1, 102)], BattleEnd::Finished, Some(0), &[]);
        assert_eq!(made, [(1, true, 0, 0)]);
        let made = changed(&[(0, 1), (0, 100), (1, 2), (1, 102)], BattleEnd::Finished, Some(0), &[]);
        assert!(made.len() == 2 && made[0].2 > 0 && made[1].2 < 0, "{made:?}");
    }

    #[test]
    fn a_thousand_wins_and_what_no_lobby_stored_stay_within_bounds() {
        let (mut best, mut worst) = ((0, 0), (0, 0));
        for _ in 0..1_000 {
            let made =
                changed(&DUEL, BattleEnd::Finished, Some(0), &[(1, best.0, best.1), (2, worst.0, worst.1)]);
            best = (best.0 + made[0].2, best.1 + made[0].3);
            worst = (worst.0 + made[1].2, worst.1 + made[1].3);
        }
        assert!(best.0 > 10_000_000 && best.0 < 100_000_000, "{best:?}");
        assert!(best.1 > -8_333_333, "{best:?}");
        for strange in [(1, i64::MIN, i64::MIN), (1, i64::MAX, i64::MAX)] {
            let made = changed(&DUEL, BattleEnd::Finished, Some(0), &[strange]);
            assert!(made.iter().all(|it| it.2.abs() <= RATING_MICRO_MAX), "{made:?}");
            let avatar = Avatar { rating_micro: strange.1, ..Avatar::default() };
            assert!((-60_000..=61_500).contains(&for_matches(&avatar)));
        }
        assert_eq!(for_matches(&Avatar::default()), 1_500);
    }
}
