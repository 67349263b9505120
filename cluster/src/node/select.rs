//! Chooses the least-loaded node. Pure: the same records, charges and demand give the same node.
//!
//! A node's load is the scarcest of what it has: tick budget, seats, battle slots. What was just given to it and
//! cannot be in its report yet is *charged* to it, so that many picks in one moment spread instead of herding.
//! Equal nodes are told apart by a hash over battle and name, so that lobbies that know nothing of each other
//! spread too.

use std::collections::{BTreeMap, VecDeque};

use super::record::NodeRecord;
use crate::id::{BattleId, NodeId};

/// A node is not picked when its tick budget would be used above this, in thousandths.
pub const TICK_SHARE_MAX_PERMILLE: u32 = 900;
/// How long the tick cost of a new battle is charged: until it shows in a p99 over the last seconds.
pub const COST_CHARGED_MS: u64 = 5_000;
/// Most charges remembered for one node; the oldest is forgotten for a further one.
pub const CHARGES_MAX: usize = 4_096;

/// What a new battle needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// The battle.
    pub battle: BattleId,
    /// The game it is of.
    pub protocol_hash: [u8; 16],
    /// Its seats.
    pub seats: u32,
    /// The share of a node's tick budget that it is expected to use, in thousandths.
    pub cost_permille: u32,
}

/// Why no node can take a battle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoNode {
    /// No node is listed, or all were passed over.
    #[error("no node is registered")]
    NoneListed,
    /// No node runs this game in this version.
    #[error("no node runs this version of the game")]
    NoneOfThisGame,
    /// All that run it are draining.
    #[error("all nodes are draining")]
    AllDraining,
    /// All that run it have no room.
    #[error("all nodes are full")]
    AllFull,
}

/// What was given to nodes and is not in their reports yet.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    charges: BTreeMap<NodeId, Charges>,
}

/// What was given to one node, the oldest first. Reports and times only grow along it, so that what a report has
/// in it is a part at the front, and what it has not is a difference of two sums.
#[derive(Debug, Clone, Default)]
struct Charges {
    instance: u64,
    charges: VecDeque<Charge>,
    seats: u64,
    cost_permille: u64,
}

#[derive(Debug, Clone, Copy)]
struct Charge {
    battle: BattleId,
    report: u64,
    at_ms: u64,
    seats: u32,
    cost_permille: u32,
    /// Sums of all charges before this one.
    seats_before: u64,
    cost_permille_before: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Owed {
    seats: u64,
    battles: u64,
    cost_permille: u64,
}

impl Charge {
    /// Whether the node has made a report that began after the battle was given to it.
    fn in_report(&self, node: &NodeRecord) -> bool {
        node.report >= self.report.saturating_add(2)
    }

    fn in_tick_share(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.at_ms) >= COST_CHARGED_MS
    }
}

impl Charges {
    fn push(&mut self, node: &NodeRecord, demand: &Demand, now_ms: u64) {
        if self.instance != node.instance {
            *self = Self { instance: node.instance, ..Self::default() };
        }
        while self
            .charges
            .front()
            .is_some_and(|charge| charge.in_report(node) && charge.in_tick_share(now_ms))
            || self.charges.len() >= CHARGES_MAX
        {
            self.charges.pop_front();
        }
        let last = self.charges.back();
        self.charges.push_back(Charge {
            battle: demand.battle,
            report: last.map_or(0, |last| last.report).max(node.report),
            at_ms: last.map_or(0, |last| last.at_ms).max(now_ms),
            seats: demand.seats,
            cost_permille: demand.cost_permille,
            seats_before: self.seats,
            cost_permille_before: self.cost_permille,
        });
        self.seats += u64::from(demand.seats);
        self.cost_permille += u64::from(demand.cost_permille);
    }

    fn remove(&mut self, battle: BattleId) {
        // What is taken back was mostly given just now.
        while let Some(place) = self.charges.iter().rposition(|charge| charge.battle == battle) {
            let Some(removed) = self.charges.remove(place) else { return };
            let (seats, cost_permille) = (u64::from(removed.seats), u64::from(removed.cost_permille));
            for later in self.charges.range_mut(place..) {
                later.seats_before -= seats;
                later.cost_permille_before -= cost_permille;
            }
            self.seats -= seats;
            self.cost_permille -= cost_permille;
        }
    }

    fn owed(&self, node: &NodeRecord, now_ms: u64) -> Owed {
        if self.instance != node.instance {
            return Owed::default();
        }
        let reported = self.charges.partition_point(|charge| charge.in_report(node));
        let told = self.charges.partition_point(|charge| charge.in_tick_share(now_ms));
        Owed {
            seats: self.charges.get(reported).map_or(0, |first| self.seats - first.seats_before),
            battles: (self.charges.len() - reported) as u64,
            cost_permille: self
                .charges
                .get(told)
                .map_or(0, |first| self.cost_permille - first.cost_permille_before),
        }
    }
}

impl Ledger {
    /// Charges a node with a battle. `now_ms` is any clock that only grows, the same in all calls.
    pub fn charge(&mut self, node: &NodeRecord, demand: &Demand, now_ms: u64) {
        self.charges.entry(node.id.clone()).or_default().push(node, demand, now_ms);
    }

    /// Takes a charge back, because the node did not take the battle.
    pub fn discharge(&mut self, node: &NodeId, battle: BattleId) {
        if let Some(charges) = self.charges.get_mut(node) {
            charges.remove(battle);
        }
    }

    /// Forgets nodes that are gone.
    pub fn keep_only(&mut self, alive: impl Fn(&NodeId) -> bool) {
        self.charges.retain(|id, _| alive(id));
    }

    fn owed(&self, node: &NodeRecord, now_ms: u64) -> Owed {
        self.charges.get(&node.id).map_or(Owed::default(), |charges| charges.owed(node, now_ms))
    }
}

/// The least-loaded node that can take the battle, none of `passed_over`.
///
/// # Errors
/// No node can take it.
pub fn select<'a>(
    nodes: impl IntoIterator<Item = &'a NodeRecord>,
    ledger: &Ledger,
    demand: &Demand,
    passed_over: &[NodeId],
    now_ms: u64,
) -> Result<&'a NodeRecord, NoNode> {
    let mut best: Option<(Rank<'a>, &'a NodeRecord)> = None;
    let mut why = NoNode::NoneListed;
    for node in nodes {
        if passed_over.contains(&node.id) {
            continue;
        }
        match rank(node, ledger, demand, now_ms) {
            Ok(rank) => {
                if best.as_ref().is_none_or(|(least, _)| rank < *least) {
                    best = Some((rank, node));
                }
            }
            Err(reason) => why = nearer(why, reason),
        }
    }
    best.map(|(_, node)| node).ok_or(why)
}

/// Scarcest share, sum of shares (both in millionths), tie-break, name: compared in this order.
type Rank<'a> = (u64, u64, u64, &'a NodeId);

fn rank<'a>(node: &'a NodeRecord, ledger: &Ledger, demand: &Demand, now_ms: u64) -> Result<Rank<'a>, NoNode> {
    if node.protocol_hash != demand.protocol_hash {
        return Err(NoNode::NoneOfThisGame);
    }
    if node.draining {
        return Err(NoNode::AllDraining);
    }
    let load = node.load;
    let owed = ledger.owed(node, now_ms);
    let seats = u64::from(load.seats_reserved) + u64::from(load.seats_used) + owed.seats;
    let seats = seats + u64::from(demand.seats);
    let battles = u64::from(load.battles) + owed.battles + 1;
    let tick = u64::from(load.tick_share_permille) + owed.cost_permille;
    let tick = tick + u64::from(demand.cost_permille);
    if seats > load.seats_max.into()
        || battles > load.battles_max.into()
        || tick > TICK_SHARE_MAX_PERMILLE.into()
    {
        return Err(NoNode::AllFull);
    }
    // Neither maximum is 0 here, as at least one seat's or battle's demand fits under it.
    let tick = tick * 1_000;
    let seats = seats * 1_000_000 / u64::from(load.seats_max.max(1));
    let battles = battles * 1_000_000 / u64::from(load.battles_max.max(1));
    let scarcest = tick.max(seats).max(battles);
    Ok((scarcest, tick + seats + battles, tie_break(demand.battle, &node.id), &node.id))
}

/// The reason that comes nearest to a pick says most to the operator.
fn nearer(one: NoNode, other: NoNode) -> NoNode {
    let nearness = |reason: &NoNode| match reason {
        NoNode::NoneListed => 0,
        NoNode::NoneOfThisGame => 1,
        NoNode::AllDraining => 2,
        NoNode::AllFull => 3,
    };
    if nearness(&other) > nearness(&one) { other } else { one }
}

/// FNV-1a over the name, mixed with the battle (SplitMix64's finisher).
fn tie_break(battle: BattleId, id: &NodeId) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in id.as_str().bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let mut mixed = hash ^ battle.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::{COST_CHARGED_MS, Demand, Ledger, NoNode, TICK_SHARE_MAX_PERMILLE, select};
    use crate::id::{BattleId, NodeId};
    use crate::node::{Load, NodeRecord};

    const HASH: [u8; 16] = [1; 16];

    fn node(name: &str, seats_max: u32) -> NodeRecord {
        let id = NodeId::parse(name).unwrap();
        let mut record = NodeRecord::new(id, 1, "127.0.0.1:1".parse().unwrap(), vec![], HASH, "test");
        record.load = Load { seats_max, battles_max: 10_000, ..Load::default() };
        record
    }

    fn demand(battle: u64) -> Demand {
        Demand { battle: BattleId(battle), protocol_hash: HASH, seats: 10, cost_permille: 1 }
    }

    /// Picks by `lobbies` lobbies in turn, none of which hears of the others'; seats given to each node.
    fn spread(nodes: &[NodeRecord], lobbies: usize, picks: u64, cost_permille: u32) -> Vec<f64> {
        let demand = |battle| Demand { cost_permille, ..demand(battle) };
        let mut ledgers = vec![Ledger::default(); lobbies];
        let mut seats = vec![0_u32; nodes.len()];
        for battle in 0..picks {
            let ledger = &mut ledgers[usize::try_from(battle).unwrap() % lobbies];
            let picked = select(nodes, ledger, &demand(battle), &[], 0).unwrap();
            ledger.charge(picked, &demand(battle), 0);
            seats[nodes.iter().position(|node| node.id == picked.id).unwrap()] += 10;
        }
        nodes
            .iter()
            .zip(seats)
            .map(|(node, seats)| f64::from(seats) / f64::from(node.load.seats_max))
            .collect()
    }

    fn max_over_mean(loads: &[f64]) -> f64 {
        let mean = loads.iter().sum::<f64>() / loads.len() as f64;
        loads.iter().copied().fold(0.0, f64::max) / mean
    }

    #[test]
    fn a_thousand_simultaneous_picks_spread_evenly() {
        let equal: Vec<_> = (0..10).map(|n| node(&format!("n{n}"), 100_000)).collect();
        let unequal: Vec<_> = (0..10).map(|n| node(&format!("n{n}"), 20_000 * (1 + n % 4))).collect();
        // Of nodes of unequal size the larger get more, as long as seats are the scarcest.
        for (nodes, lobbies, cost) in [(&equal, 1, 1), (&equal, 8, 1), (&unequal, 1, 0), (&unequal, 8, 0)] {
            let ratio = max_over_mean(&spread(nodes, lobbies, 1_000, cost));
            assert!(ratio <= 1.5, "{lobbies} lobbies: {ratio}");
        }
    }

    #[test]
    fn lobbies_that_each_place_one_battle_do_not_herd() {
        let nodes: Vec<_> = (0..10).map(|n| node(&format!("n{n}"), 100_000)).collect();
        let ratio = max_over_mean(&spread(&nodes, 1_000, 1_000, 1));
        assert!(ratio <= 1.5, "{ratio}");
    }

    #[test]
    fn the_order_of_the_list_does_not_matter() {
        let mut nodes: Vec<_> = (0..7).map(|n| node(&format!("n{n}"), 1_000)).collect();
        let forward = select(&nodes, &Ledger::default(), &demand(5), &[], 0).unwrap().id.clone();
        nodes.reverse();
        assert_eq!(select(&nodes, &Ledger::default(), &demand(5), &[], 0).unwrap().id, forward);
    }

    #[test]
    fn the_scarcest_resource_counts() {
        let mut busy_ticks = node("a", 1_000);
        busy_ticks.load.tick_share_permille = 500;
        let mut busy_seats = node("b", 1_000);
        busy_seats.load.seats_used = 300;
        busy_seats.load.seats_reserved = 300;
        let mut free = node("c", 1_000);
        free.load.tick_share_permille = 400;
        free.load.seats_used = 400;
        let nodes = [busy_ticks, busy_seats, free];
        assert_eq!(select(&nodes, &Ledger::default(), &demand(1), &[], 0).unwrap().id.as_str(), "c");
    }

    #[test]
    fn whatever_cannot_take_the_battle_is_never_picked_and_the_nearest_reason_is_told() {
        let ledger = Ledger::default();
        let full = |change: fn(&mut NodeRecord)| {
            let mut record = node("a", 10);
            change(&mut record);
            select([&record], &ledger, &demand(1), &[], 0).map(|_| ())
        };
        assert_eq!(full(|_| ()), Ok(()));
        assert_eq!(full(|n| n.load.seats_max = 9), Err(NoNode::AllFull));
        assert_eq!(full(|n| n.load.seats_used = 1), Err(NoNode::AllFull));
        assert_eq!(full(|n| n.load.seats_reserved = 1), Err(NoNode::AllFull));
        assert_eq!(full(|n| n.load.battles_max = 0), Err(NoNode::AllFull));
        assert_eq!(full(|n| n.load.tick_share_permille = TICK_SHARE_MAX_PERMILLE - 1), Ok(()));
        assert_eq!(full(|n| n.load.tick_share_permille = TICK_SHARE_MAX_PERMILLE), Err(NoNode::AllFull));
        assert_eq!(full(|n| n.draining = true), Err(NoNode::AllDraining));
        assert_eq!(full(|n| n.protocol_hash = [2; 16]), Err(NoNode::NoneOfThisGame));
        let passed = [NodeId::parse("a").unwrap()];
        assert_eq!(select([&node("a", 10)], &ledger, &demand(1), &passed, 0), Err(NoNode::NoneListed));
    }

    #[test]
    fn a_charge_holds_capacity_until_the_report_after_next_and_can_be_taken_back() {
        let mut record = node("a", 10);
        let mut ledger = Ledger::default();
        ledger.charge(&record, &demand(1), 0);
        assert_eq!(select([&record], &ledger, &demand(2), &[], 0), Err(NoNode::AllFull));
        record.report = 1;
        assert_eq!(select([&record], &ledger, &demand(2), &[], 0), Err(NoNode::AllFull));
        record.report = 2;
        assert!(select([&record], &ledger, &demand(2), &[], 0).is_ok());
        ledger.charge(&record, &demand(2), 0);
        assert!(select([&record], &ledger, &demand(3), &[], 0).is_err());
        ledger.discharge(&record.id, BattleId(2));
        assert!(select([&record], &ledger, &demand(3), &[], 0).is_ok());
    }

    /// What a ledger holds against a list of all charges, walked from one end to the other.
    #[test]
    fn sums_are_those_of_the_charges() {
        let seed = std::env::var("SEED").map_or(7, |seed| seed.parse().expect("SEED is a number"));
        eprintln!("SEED={seed}");
        let mut state: u64 = seed;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut record = node("a", 1_000);
        let mut ledger = Ledger::default();
        let mut model: Vec<(u64, u64, u64, u64, u32, u32)> = Vec::new();
        let mut now_ms = 0;
        for step in 0..5_000 {
            match random(8) {
                0 => record.report += random(3),
                1 => now_ms += random(2_000),
                2 if random(20) == 0 => record.instance += 1,
                3 => {
                    let battle = random(step + 1);
                    ledger.discharge(&record.id, BattleId(battle));
                    model.retain(|charge| charge.0 != battle);
                }
                _ => {
                    let (seats, cost_permille) = (random(20) as u32, random(10) as u32);
                    let demand = Demand { seats, cost_permille, ..demand(step) };
                    ledger.charge(&record, &demand, now_ms);
                    model.push((step, record.instance, record.report, now_ms, seats, cost_permille));
                }
            }
            let owed = ledger.owed(&record, now_ms);
            let of_this = model.iter().filter(|charge| charge.1 == record.instance);
            let unreported: Vec<_> = of_this.clone().filter(|charge| record.report < charge.2 + 2).collect();
            let seats: u32 = unreported.iter().map(|charge| charge.4).sum();
            let cost: u32 =
                of_this.filter(|charge| now_ms - charge.3 < COST_CHARGED_MS).map(|charge| charge.5).sum();
            assert_eq!(
                (owed.seats, owed.battles, owed.cost_permille),
                (u64::from(seats), unreported.len() as u64, u64::from(cost)),
                "step {step}"
            );
        }
    }

    #[test]
    fn the_tick_cost_is_charged_until_it_shows_in_the_report() {
        let mut record = node("a", 1_000);
        record.load.tick_share_permille = TICK_SHARE_MAX_PERMILLE - 2;
        let mut ledger = Ledger::default();
        ledger.charge(&record, &Demand { cost_permille: 2, ..demand(1) }, 100);
        record.report = 9;
        assert!(select([&record], &ledger, &demand(2), &[], 100 + COST_CHARGED_MS - 1).is_err());
        assert!(select([&record], &ledger, &demand(2), &[], 100 + COST_CHARGED_MS).is_ok());
    }
}
