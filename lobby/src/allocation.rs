//! Finds a battle its node.
//!
//! ```text
//! row in the store (epoch 1, placing) ─▶ reserve on the least-loaded node ─▶ row: running ─▶ tokens
//!                                         │ refused, or no answer (epoch + 1)
//!                                         ▼
//!                                        next node, at most two more ─▶ row: dissolved, nobody plays
//! ```
//! A node whose answer was lost may hold the battle all the same. So before another node is asked the epoch is
//! raised: whatever the first one does under the old epoch, it cannot settle.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ring::digest;
use tiltyard_api::{Base64, BattleReady, ErrorCode, Hex64, Text};
use tiltyard_cluster::control::{BattleKeyGrant, Refusal, Release, Reservation, ReserveAnswer, ReservedSeat};
use tiltyard_cluster::epoch::Ownership;
use tiltyard_cluster::node::NodeRecord;
use tiltyard_cluster::node::select::{Demand, NoNode, select};
use tiltyard_cluster::{BattleId, Epoch, NodeId};
use tiltyard_netcode::system_random;
use tiltyard_netcode::token::{Claims, MasterKey, Role, SessionSecret, mint};

use crate::config::ModeConfig;
use crate::house::{CurrentBattle, House, Refused};
use crate::numbers::bot_number;
use crate::queue::Member;
use crate::store::{BattleRow, BattleState, RowSeat};

/// Most nodes asked for one battle.
pub(crate) const NODES_ASKED_MAX: usize = 3;
/// How often a store that does not answer is asked to dissolve a battle, and the pauses between: half an hour.
const DISSOLVE_TRIES: u32 = 64;
const DISSOLVE_PAUSE_MIN: Duration = Duration::from_millis(200);
const DISSOLVE_PAUSE_MAX: Duration = Duration::from_secs(30);

impl House {
    /// Places a battle for these teams; bots take the seats left over. On success every human's battle is
    /// registered; answers their numbers with what they need to connect.
    pub(crate) async fn place(
        &self,
        mode: &ModeConfig,
        teams: &[Vec<Member>],
    ) -> Result<Vec<(u64, BattleReady)>, Refused> {
        self.look_for_a_node(mode)?;
        let row = self.create_row(mode, teams).await?;
        self.place_row(mode, row).await
    }

    /// Places a battle as [`House::place`] does, under a number that was told to others before.
    pub(crate) async fn place_as(
        &self,
        mode: &ModeConfig,
        teams: &[Vec<Member>],
        battle: u64,
        seed: u64,
    ) -> Result<Vec<(u64, BattleReady)>, Refused> {
        let row = self.row(mode, teams, battle, seed);
        if !self.store.create_battle(&row).await.map_err(|error| self.store_failed(error))? {
            // Another lobby waited too long for it, and made it fall.
            return Err(try_later());
        }
        self.place_row(mode, row).await
    }

    /// Without any node to ask there is no need to write a row.
    pub(crate) fn look_for_a_node(&self, mode: &ModeConfig) -> Result<(), Refused> {
        self.pick(&self.demand(mode, BattleId(0)), &[]).map(|_| ())
    }

    async fn place_row(
        &self,
        mode: &ModeConfig,
        mut row: BattleRow,
    ) -> Result<Vec<(u64, BattleReady)>, Refused> {
        let (node, addresses) = match self.find_node(mode, &mut row).await {
            Ok(found) => found,
            Err(refused) => {
                if let Err(error) = self.store.dissolve(row.battle, row.epoch).await {
                    self.store_failed(error);
                }
                return Err(refused);
            }
        };
        let placing = self.store.place(row.battle, row.epoch, &node.id, &addresses);
        let (placed, ()) = tokio::join!(placing, self.claim(&row, &node.id));
        match placed {
            Ok(true) => {}
            outcome => {
                // The row is not what we wrote, or nobody knows whether it is: give the node its seats back, and let
                // nobody play.
                self.release(&node, row.battle, row.epoch).await;
                self.ledger().discharge(&node.id, row.battle);
                self.dissolve_in_the_end(&row);
                return Err(match outcome {
                    Err(error) => self.store_failed(error),
                    Ok(_) => ErrorCode::Internal.into(),
                });
            }
        }
        self.counters.battles_placed.one();
        tracing::info!(battle = %row.battle, epoch = %row.epoch, node = %node.id, mode = %mode.name, "battle placed");
        row.node = Some(node.id);
        row.addresses = addresses;
        Ok(self.hand_out(mode, &row))
    }

    /// Tells the directory whose the battle is under this epoch, so that a node that was away learns when it is another's.
    /// A directory that is away hinders no battle: who may settle it stands in its row.
    async fn claim(&self, row: &BattleRow, node: &NodeId) {
        let ownership = Ownership { epoch: row.epoch, owner: node.clone() };
        if let Err(error) = self.claims.claim(row.battle, ownership).await {
            self.counters.battles_unclaimed.one();
            tracing::warn!(battle = %row.battle, %node, %error, "the directory does not know whose it is");
        }
    }

    /// Dissolves a battle as soon as the store answers: until then it keeps its players busy, if only until it is
    /// overdue.
    fn dissolve_in_the_end(&self, row: &BattleRow) {
        let (store, battle, epoch) = (Arc::clone(&self.store), row.battle, row.epoch);
        let tries = async move {
            let mut pause = DISSOLVE_PAUSE_MIN;
            for _ in 0..DISSOLVE_TRIES {
                if store.dissolve(battle, epoch).await.is_ok() {
                    return;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(DISSOLVE_PAUSE_MAX);
            }
            tracing::warn!(%battle, "a battle that nobody plays could not be dissolved");
        };
        tokio::spawn(tries);
    }

    async fn create_row(&self, mode: &ModeConfig, teams: &[Vec<Member>]) -> Result<BattleRow, Refused> {
        loop {
            let (battle, seed) = self.numbers.battle().await.map_err(|error| self.store_failed(error))?;
            let row = self.row(mode, teams, battle, seed);
            // A kept store under another seed may have the number already; then the next one is taken.
            if self.store.create_battle(&row).await.map_err(|error| self.store_failed(error))? {
                return Ok(row);
            }
        }
    }

    fn row(&self, mode: &ModeConfig, teams: &[Vec<Member>], battle: u64, seed: u64) -> BattleRow {
        BattleRow {
            battle: BattleId(battle),
            epoch: Epoch::FIRST,
            state: BattleState::Placing,
            mode: mode.name.clone(),
            protocol_hash: mode.protocol_hash,
            seed,
            rate_hz: mode.rate_hz,
            ticks_max: mode.ticks_max,
            seats: seats(mode, teams, battle),
            created_unix_ms: self.clock.unix_ms(),
            kid: self.keys().masters.current().kid(),
            node: None,
            addresses: Vec::new(),
            result: None,
        }
    }

    /// Asks one node after the other; raises the row's epoch after a lost answer.
    async fn find_node(
        &self,
        mode: &ModeConfig,
        row: &mut BattleRow,
    ) -> Result<(NodeRecord, Vec<SocketAddr>), Refused> {
        let demand = self.demand(mode, row.battle);
        let mut asked: Vec<NodeId> = Vec::new();
        while asked.len() < NODES_ASKED_MAX {
            let Ok(node) = self.pick_and_charge(&demand, &asked) else { break };
            let answer = self.calls.reserve(&node.peer(), &self.reservation(mode, row)).await;
            match answer {
                Ok(ReserveAnswer::Reserved { addresses }) => return Ok((node, addresses)),
                Ok(ReserveAnswer::Refused(refusal)) => {
                    self.counters.reservations_refused.one();
                    tracing::info!(battle = %row.battle, node = %node.id, ?refusal, "reservation refused");
                    self.ledger().discharge(&node.id, row.battle);
                    if refusal == Refusal::Invalid {
                        // Every node of this game would say the same.
                        return Err(ErrorCode::Internal.into());
                    }
                }
                Err(error) => {
                    self.counters.reservations_unanswered.one();
                    tracing::warn!(battle = %row.battle, node = %node.id, %error, "reservation unanswered");
                    self.ledger().discharge(&node.id, row.battle);
                    if error.may_have_happened() {
                        let raised = self.store.raise_epoch(row.battle, row.epoch).await;
                        let raised = raised.map_err(|error| self.store_failed(error))?;
                        let old = std::mem::replace(&mut row.epoch, raised.ok_or(ErrorCode::Internal)?);
                        self.release(&node, row.battle, old).await;
                    }
                }
            }
            asked.push(node.id);
        }
        self.counters.placements_without_node.one();
        Err(try_later())
    }

    async fn release(&self, node: &NodeRecord, battle: BattleId, epoch: Epoch) {
        // Best effort: what is not released frees itself at its deadline.
        if let Err(error) = self.calls.release(&node.peer(), Release { battle, epoch }).await {
            tracing::debug!(%battle, node = %node.id, %error, "release unanswered");
        }
    }

    fn demand(&self, mode: &ModeConfig, battle: BattleId) -> Demand {
        Demand {
            battle,
            protocol_hash: mode.protocol_hash,
            seats: u32::try_from(mode.seats()).expect("a mode has at most 1,024 seats"),
            cost_permille: mode.cost_permille,
        }
    }

    fn pick(&self, demand: &Demand, asked: &[NodeId]) -> Result<NodeRecord, Refused> {
        // While the directory is away its last list is good for one time to live; after that nodes may be gone.
        if self.nodes.age().is_none_or(|age| age > self.config.registration.ttl) {
            return Err(try_later());
        }
        let listed = self.nodes.current();
        let ledger = self.ledger();
        let picked = select(listed.records.values(), &ledger, demand, asked, self.now_ms());
        picked.cloned().map_err(|why: NoNode| {
            tracing::debug!(%why, "no node");
            try_later()
        })
    }

    fn pick_and_charge(&self, demand: &Demand, asked: &[NodeId]) -> Result<NodeRecord, Refused> {
        if self.nodes.age().is_none_or(|age| age > self.config.registration.ttl) {
            return Err(try_later());
        }
        let listed = self.nodes.current();
        let mut ledger = self.ledger();
        ledger.keep_only(|id| listed.records.contains_key(id));
        let now_ms = self.now_ms();
        let picked =
            select(listed.records.values(), &ledger, demand, asked, now_ms).map_err(|_| try_later())?;
        ledger.charge(picked, demand, now_ms);
        Ok(picked.clone())
    }

    fn reservation(&self, mode: &ModeConfig, row: &BattleRow) -> Reservation {
        let seats = row.seats.iter().map(|seat| ReservedSeat {
            seat: seat.seat,
            team: seat.team,
            player: seat.player,
            name: seat.name.clone(),
            bot: seat.bot,
            loadout: seat.loadout,
        });
        let battle = tiltyard_netcode::BattleId(row.battle.0);
        let keys = self.keys();
        let of_battle = |master: &MasterKey| BattleKeyGrant {
            kid: master.kid(),
            key: *master.battle_key(battle).as_bytes(),
        };
        let keys = keys.masters.all().map(of_battle).collect();
        Reservation {
            battle: row.battle,
            epoch: row.epoch,
            mode: row.mode.clone(),
            protocol_hash: row.protocol_hash,
            setup: mode.setup.clone(),
            seed: row.seed,
            rate_hz: row.rate_hz,
            ticks_max: row.ticks_max,
            seats: seats.collect(),
            keys,
            deadline_ms: u32::try_from(self.config.waits.token_ttl.as_millis()).unwrap_or(u32::MAX),
        }
    }

    fn hand_out(&self, mode: &ModeConfig, row: &BattleRow) -> Vec<(u64, BattleReady)> {
        let waits = &self.config.waits;
        let lasts = mode.duration_max() + waits.token_ttl + waits.result_grace;
        let overdue_ms = self.now_ms().saturating_add(u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX));
        let mut ready = Vec::new();
        for seat in row.humans() {
            let for_seat = self.mint(row, seat);
            let current = CurrentBattle { ready: for_seat.clone(), overdue_ms };
            self.current().insert(seat.player, current);
            ready.push((seat.player, for_seat));
        }
        ready
    }

    /// A fresh token for the seat that a player has in a battle, if there is one.
    pub(crate) fn mint_for(&self, row: &BattleRow, player: u64) -> Option<BattleReady> {
        row.humans().find(|seat| seat.player == player).map(|seat| self.mint(row, seat))
    }

    fn mint(&self, row: &BattleRow, seat: &RowSeat) -> BattleReady {
        let issued_unix_ms = self.clock.unix_ms();
        let ttl_ms = u64::try_from(self.config.waits.token_ttl.as_millis()).unwrap_or(u64::MAX);
        let expires_unix_ms = issued_unix_ms.saturating_add(ttl_ms);
        let secret = SessionSecret::from_bytes(system_random());
        let claims = Claims {
            player: seat.player,
            seat: seat.seat,
            team: seat.team,
            role: Role::Player,
            protocol_hash: row.protocol_hash,
            issued_unix_ms,
            session_secret: secret.clone(),
            bytes_per_second_max: 0,
            inputs_per_second_max: 0,
            loadout_hash: loadout_hash(seat.loadout),
            user_data: Vec::new(),
        };
        let keys = self.keys();
        // The node has the keys of when the battle was placed. Of one that is forgotten by now it takes nothing more.
        let master = keys.masters.find(row.kid).unwrap_or(keys.masters.current());
        let key = master.battle_key(tiltyard_netcode::BattleId(row.battle.0));
        let token = mint(&key, system_random(), expires_unix_ms, &claims);
        self.counters.tokens_minted.one();
        let addresses = row.addresses.iter().take(tiltyard_api::limits::ADDRESSES_MAX);
        let addresses: Vec<_> = addresses.map(|address| Text::cut(&address.to_string())).collect();
        BattleReady {
            battle: Hex64(row.battle.0),
            epoch: row.epoch.0,
            mode: Text::cut(&row.mode),
            seat: seat.seat,
            team: seat.team,
            token: fits(token.as_bytes()),
            secret: fits(secret.as_bytes()),
            addresses: addresses.try_into().expect("no more were taken"),
            protocol_hash: fits(&row.protocol_hash),
            rate_hz: row.rate_hz,
            expires_unix_ms,
        }
    }
}

fn fits<const MAX: usize>(bytes: &[u8]) -> Base64<MAX> {
    bytes.try_into().expect("the api's bounds hold tokens, secrets and hashes")
}

fn try_later() -> Refused {
    Refused { code: ErrorCode::TryLater, retry_after_ms: 1_000 }
}

/// Hash of a loadout as tokens carry it: SHA-256 over a label and the number, little-endian.
fn loadout_hash(loadout: u32) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"tiltyard loadout 1\0");
    context.update(&loadout.to_le_bytes());
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// The seats of a battle: team by team, in each the players in the order they were matched, then bots.
fn seats(mode: &ModeConfig, teams: &[Vec<Member>], battle: u64) -> Vec<RowSeat> {
    let mut seats = Vec::with_capacity(mode.seats());
    let mut bots = 0_u32;
    let per_team = mode.seats_per_team;
    for team in 0..mode.teams {
        let members = teams.get(usize::from(team)).map_or(&[][..], Vec::as_slice);
        for index in 0..per_team {
            let seat = u16::from(team) * per_team + index;
            seats.push(match members.get(usize::from(index)) {
                Some(member) => RowSeat {
                    seat,
                    team,
                    player: member.player,
                    name: member.name.clone(),
                    bot: false,
                    loadout: member.loadout,
                },
                None => {
                    bots += 1;
                    let player = bot_number(battle, seat);
                    RowSeat { seat, team, player, name: format!("bot {bots}"), bot: true, loadout: 0 }
                }
            });
        }
    }
    seats
}
