//! What an operator sees of a node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hdrhistogram::Histogram;
use tiltyard_cluster::NodeId;
use tiltyard_cluster::node::{Load, NodeRecord, Registration};
use tiltyard_engine::Game;

use crate::placement::Placement;
use crate::recording::RecordingCounters;
use crate::room::RoomCounters;

/// Numbers of a node since its start.
#[derive(Clone, Debug)]
pub struct NodeReport {
    /// The rooms' counters.
    pub rooms: RoomCounters,
    /// The endpoints' counters, summed over the workers.
    pub sessions: BTreeMap<&'static str, u64>,
    /// Battles that ended by a panic of their own.
    pub panics: u64,
    /// Battles that ended because other nodes own them by now.
    pub superseded: u64,
    /// The counters of recordings and of reports on mishaps.
    pub recordings: BTreeMap<&'static str, u64>,
    /// Ticks made, and how long they took with their feeds, in nanoseconds.
    pub tick_ns: Histogram<u64>,
}

/// Looks at a node, and changes what may change of it, for as long as it runs and afterwards.
pub struct NodeMonitor<G: Game> {
    pub(crate) placement: Arc<Placement<G>>,
    pub(crate) registration: Arc<Registration<NodeRecord>>,
    pub(crate) recordings: Arc<RecordingCounters>,
}

impl<G: Game> Clone for NodeMonitor<G> {
    fn clone(&self) -> Self {
        Self {
            placement: self.placement.clone(),
            registration: self.registration.clone(),
            recordings: self.recordings.clone(),
        }
    }
}

impl<G: Game> NodeMonitor<G> {
    /// The node's name.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.placement.config().id
    }

    /// How loaded it is.
    #[must_use]
    pub fn load(&self) -> Load {
        self.placement.load()
    }

    /// Takes so many battles at once from now on; those that run stay.
    pub fn change_battles_max(&self, battles_max: u32) {
        self.placement.battles_max.store(battles_max, Ordering::Relaxed);
    }

    /// Counters of its registration in the directory.
    #[must_use]
    pub fn registration(&self) -> Vec<(&'static str, u64)> {
        self.registration.counters().list()
    }

    /// Why the node takes no new battles just now, if it does not. A directory that is away is no reason: lobbies go
    /// on by what they know.
    #[must_use]
    pub fn not_ready(&self) -> Option<&'static str> {
        self.placement.is_draining().then_some("draining")
    }

    /// Numbers since the start.
    #[must_use]
    pub fn report(&self) -> NodeReport {
        let mut statuses = self.placement.statuses();
        let first = statuses.next().expect("a node has a worker");
        let mut report = NodeReport {
            rooms: first.rooms,
            sessions: first.sessions.iter().copied().collect(),
            panics: first.panics,
            superseded: self.placement.superseded.load(Ordering::Relaxed),
            recordings: self.recordings.list().into_iter().collect(),
            tick_ns: first.tick_ns,
        };
        for status in statuses {
            report.rooms = report.rooms + status.rooms;
            report.panics += status.panics;
            report.tick_ns.add(&status.tick_ns).expect("all workers measure alike");
            for (name, count) in &status.sessions {
                *report.sessions.entry(name).or_default() += count;
            }
        }
        report
    }
}
