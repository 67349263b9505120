//! The state hash over these columns, in the layout that skirmish registers: score, rules, puppets, flyers,
//! obstacles. A column that nothing was written to keeps its hash.

use bytemuck::{NoUninit, bytes_of, cast_slice};

use super::super::{Block, Rules, Score};
use super::flyers::{self, Flyers};
use super::puppets::{self, Puppets};
use crate::{ActorId, Hashes, StateHash, Tick, hash_column};

/// The hash of each column as it was last computed.
#[derive(Debug)]
pub(super) struct Sums {
    pub(super) score_changed: bool,
    nobody: u64,
    score: u64,
    rules: u64,
    puppet_ids: u64,
    lives: u64,
    arms: u64,
    tallies: u64,
    flyer_ids: u64,
    velocities: u64,
    flights: u64,
    obstacle_ids: u64,
    blocks: u64,
    obstacles: u32,
    hashes: Hashes,
}

impl Sums {
    pub(super) fn new(rules: &Rules, puppets: usize, first_obstacle: u32, blocks: &[Block]) -> Self {
        let ids = |first: u32, count: usize| -> Vec<ActorId> { (first..).take(count).map(ActorId).collect() };
        Self {
            score_changed: true,
            nobody: column(&[ActorId::NONE]),
            score: 0,
            rules: hash_column(bytes_of(rules)),
            puppet_ids: column(&ids(1, puppets)),
            lives: 0,
            arms: 0,
            tallies: 0,
            flyer_ids: column::<ActorId>(&[]),
            velocities: column::<ActorId>(&[]),
            flights: column::<ActorId>(&[]),
            obstacle_ids: column(&ids(first_obstacle, blocks.len())),
            blocks: column(blocks),
            obstacles: blocks.len() as u32,
            hashes: Hashes::default(),
        }
    }

    pub(super) fn state(&self) -> StateHash {
        self.hashes.state()
    }

    pub(super) fn close(
        &mut self,
        tick: Tick,
        next_actor: u32,
        score: &Score,
        puppets: &mut Puppets,
        flyers: &mut Flyers,
    ) -> StateHash {
        if std::mem::take(&mut self.score_changed) {
            self.score = hash_column(bytes_of(score));
        }
        let puppets::Changed { lives, arms, tallies } = std::mem::take(&mut puppets.changed);
        renew(&mut self.lives, lives, &puppets.lives);
        renew(&mut self.arms, arms, &puppets.arms);
        renew(&mut self.tallies, tallies, &puppets.tallies);
        let flyers::Changed { ids, velocities, flights } = std::mem::take(&mut flyers.changed);
        renew(&mut self.flyer_ids, ids, &flyers.ids);
        renew(&mut self.velocities, velocities, &flyers.velocities);
        renew(&mut self.flights, flights, &flyers.flights);

        let hashes = &mut self.hashes;
        hashes.begin(tick, next_actor);
        let mut kind = |rows: u32, columns: &[u64]| {
            hashes.rows(rows);
            columns.iter().for_each(|column| hashes.column(*column));
        };
        kind(1, &[self.nobody, self.score]);
        kind(1, &[self.nobody, self.rules]);
        let (places, speeds) = (column(&puppets.positions), column(&puppets.velocities));
        let looks = column(&puppets.facings);
        kind(
            puppets.len() as u32,
            &[self.puppet_ids, places, speeds, looks, self.lives, self.arms, self.tallies],
        );
        let places = column(&flyers.positions);
        kind(flyers.ids.len() as u32, &[self.flyer_ids, places, self.velocities, self.flights]);
        kind(self.obstacles, &[self.obstacle_ids, self.blocks]);
        hashes.end();
        hashes.state()
    }
}

fn renew<T: NoUninit>(hash: &mut u64, changed: bool, rows: &[T]) {
    if changed {
        *hash = column(rows);
    }
}

fn column<T: NoUninit>(rows: &[T]) -> u64 {
    hash_column(cast_slice(rows))
}
