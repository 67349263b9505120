//! Where the lobbies meet whose players are matched with each other: in this process, or in a Redis.

use std::sync::Arc;

use tiltyard_lobby::board::{Board, MemoryBoard};

use crate::config::{Config, ServiceUrl};
use crate::exit::Usage;
use crate::text::hex;

/// The board that the configuration chooses, for lobbies of this cluster and this version of the game: while one follows
/// the other, each matches its own players. Redis is spoken to when the board is first used, and may be away.
///
/// # Errors
/// If Redis is asked for and this build has none, or its address is none.
pub(crate) fn board(config: &Config, protocol_hash: [u8; 16]) -> Result<Arc<dyn Board>, Usage> {
    let url = &config.queue.redis;
    let name = format!("{}:{}", config.cluster.prefix.as_str(), hex(&protocol_hash));
    if url.is_given() { in_redis(url, &name) } else { Ok(Arc::new(MemoryBoard::default())) }
}

#[cfg(not(feature = "redis"))]
fn in_redis(_: &ServiceUrl, _: &str) -> Result<Arc<dyn Board>, Usage> {
    Err(Usage(
        "this build has no redis: tickets are kept in memory; build with --features redis for queue.redis"
            .to_owned(),
    ))
}

#[cfg(feature = "redis")]
fn in_redis(url: &ServiceUrl, name: &str) -> Result<Arc<dyn Board>, Usage> {
    use tiltyard_lobby::board::{RedisBoard, RedisTimes};

    let board = RedisBoard::new(url.as_str(), RedisTimes::default());
    let board =
        board.map_err(|_| Usage(format!("queue.redis: {url} is no address like redis://host:6379")))?;
    Ok(Arc::new(board.of(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Raw, Value as _};

    #[test]
    fn a_board_in_redis_is_refused_by_name_where_there_is_none_and_without_its_password_where_it_is_wrong() {
        let mut config = Config::default();
        board(&config, [7; 16]).unwrap();
        config.queue.redis = ServiceUrl::read(Raw::Text("http://ada:secret@host"), None).unwrap();
        let Usage(said) = board(&config, [7; 16]).unwrap_err();
        let expected = if cfg!(feature = "redis") {
            "queue.redis: http://ada:***@host is no address like redis://host:6379"
        } else {
            "this build has no redis: tickets are kept in memory; build with --features redis for queue.redis"
        };
        assert_eq!(said, expected);
        config.queue.redis = ServiceUrl::read(Raw::Text("redis://:secret@127.0.0.1:1"), None).unwrap();
        assert_eq!(
            board(&config, [7; 16]).is_ok(),
            cfg!(feature = "redis"),
            "whether it answers shows later"
        );
    }
}
