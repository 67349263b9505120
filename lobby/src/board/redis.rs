//! The board in a Redis, for lobbies in different processes. One script is one meeting.
//!
//! ```text
//! {tiltyard}:lobbies          sorted set: lobby -> when it came last, milliseconds of Redis's clock
//! {tiltyard}:leader           the lobby that leads, for [`RedisTimes::lead`]
//! {tiltyard}:tickets:<lobby>  its tickets as JSON, for [`RedisTimes::absence`]
//! {tiltyard}:letters:<lobby>  list of letters to it as JSON, for [`RedisTimes::letters`]
//! ```
//! A board of one game says so inside the braces, see [`RedisBoard::of`]. They keep all keys on one node of a Redis cluster. What Redis loses is said again at the next meeting.

use std::time::Duration;

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, Script};
use tiltyard_api::List;
use tokio::sync::Mutex;

use super::{Board, BoardAway, LETTERS_MAX, Letter, LobbyName, Met, Offer, SharedTicket};

/// How long what takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedisTimes {
    /// How long a meeting may take.
    pub call: Duration,
    /// How long a lobby leads that does not come.
    pub lead: Duration,
    /// Who did not come for so long is no more.
    pub absence: Duration,
    /// How long letters are kept for a lobby that does not come: what is older nobody waits for.
    pub letters: Duration,
}

impl Default for RedisTimes {
    fn default() -> Self {
        Self {
            // A caller waits for 200 ms at most, what a busy machine adds included.
            call: Duration::from_millis(150),
            lead: Duration::from_millis(1_500),
            absence: Duration::from_secs(3),
            letters: Duration::from_secs(5),
        }
    }
}

/// Most tickets of one lobby that are read.
const TICKETS_MAX: usize = 100_000;

/// ARGV: lobby, whether it can lead, its tickets, bounds, the board's name, then lobby and letter in turn.
/// Answers whether it leads, the letters to it, and name and tickets of each other lobby in turn.
const MEET: &str = r"
local prefix, me = '{tiltyard' .. ARGV[8] .. '}:', ARGV[1]
local absence, lead, keep, most = tonumber(ARGV[4]), ARGV[5], ARGV[6], tonumber(ARGV[7])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', prefix .. 'lobbies', '-inf', now - absence)
redis.call('ZADD', prefix .. 'lobbies', now, me)
redis.call('SET', prefix .. 'tickets:' .. me, ARGV[3], 'PX', absence)
for at = 9, #ARGV, 2 do
    local letters = prefix .. 'letters:' .. ARGV[at]
    if redis.call('LLEN', letters) < most then
        redis.call('RPUSH', letters, ARGV[at + 1])
        redis.call('PEXPIRE', letters, keep)
    end
end
local letters = redis.call('LRANGE', prefix .. 'letters:' .. me, 0, -1)
redis.call('DEL', prefix .. 'letters:' .. me)
local leader = redis.call('GET', prefix .. 'leader')
if ARGV[2] == '1' and (not leader or leader == me) then
    redis.call('SET', prefix .. 'leader', me, 'PX', lead)
    leader = me
elseif leader == me then
    redis.call('DEL', prefix .. 'leader')
    leader = false
end
local others = {}
for _, name in ipairs(redis.call('ZRANGE', prefix .. 'lobbies', 0, -1)) do
    if name ~= me then
        others[#others + 1] = name
        others[#others + 1] = leader == me and redis.call('GET', prefix .. 'tickets:' .. name) or ''
    end
end
return { leader == me and 1 or 0, letters, others }
";

/// A board in a Redis. A connection on which a call failed or came too late is given up for a new one: it may be one
/// that nothing passes any more.
pub struct RedisBoard {
    client: Client,
    connection: Mutex<Option<MultiplexedConnection>>,
    meet: Script,
    times: RedisTimes,
    name: String,
}

/// The address holds a password.
impl std::fmt::Debug for RedisBoard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RedisBoard")
    }
}

impl RedisBoard {
    /// A board at an address (`redis://host:6379`).
    ///
    /// # Errors
    /// The address is none.
    pub fn new(address: &str, times: RedisTimes) -> Result<Self, RedisError> {
        Ok(Self {
            client: Client::open(address)?,
            connection: Mutex::new(None),
            meet: Script::new(MEET),
            times,
            name: String::new(),
        })
    }

    /// The board of those alone who give it this name: lobbies of one cluster that run one version of one game.
    #[must_use]
    pub fn of(self, name: &str) -> Self {
        Self { name: format!(":{name}"), ..self }
    }
}

/// What the script answers.
type Answer = (u8, Vec<Vec<u8>>, Vec<Vec<u8>>);

#[async_trait]
impl Board for RedisBoard {
    async fn meet(&self, offer: Offer) -> Result<Met, BoardAway> {
        let tickets = serde_json::to_string(&offer.tickets).expect("tickets have string keys");
        let mut call = self.meet.prepare_invoke();
        call.arg(offer.lobby.as_str()).arg(u8::from(offer.can_lead)).arg(tickets);
        for time in [self.times.absence, self.times.lead, self.times.letters] {
            call.arg(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        }
        call.arg(LETTERS_MAX).arg(&self.name);
        for (to, letter) in &offer.letters {
            call.arg(to.as_str()).arg(letter.to_json());
        }
        let mut kept = self.connection.lock().await;
        let connection = kept.take();
        let called = async {
            let mut connection = match connection {
                Some(connection) => connection,
                None => {
                    // One deadline holds for all of it; the library's own are for others.
                    let patient =
                        AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
                    self.client.get_multiplexed_async_connection_with_config(&patient).await?
                }
            };
            let answer = call.invoke_async::<Answer>(&mut connection).await?;
            *kept = Some(connection);
            Ok::<_, RedisError>(answer)
        };
        let (leads, letters, others) = match tokio::time::timeout(self.times.call, called).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                tracing::debug!(%error, "Redis");
                return Err(BoardAway);
            }
            Err(_) => return Err(BoardAway),
        };
        let letters: Vec<_> = letters.iter().filter_map(|letter| Letter::parse(letter)).collect();
        let others = others.chunks_exact(2).filter_map(|other| read_other(&other[0], &other[1]));
        Ok(Met { leads: leads == 1, letters, others: others.collect() })
    }
}

/// A lobby and its tickets; no tickets, if what is there is none.
fn read_other(name: &[u8], tickets: &[u8]) -> Option<(LobbyName, Vec<SharedTicket>)> {
    let name = LobbyName::try_from(std::str::from_utf8(name).ok()?).ok()?;
    let tickets = serde_json::from_slice::<List<SharedTicket, TICKETS_MAX>>(tickets).ok();
    Some((name, tickets.map(List::into_vec).unwrap_or_default()))
}
