//! One number for each thing that was dropped, refused or done, by name.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What an endpoint did and refused since it began. Strangers can raise most of these at will, so they are
        /// counted and never logged.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Every counter with its name, in the order of declaration.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Datagrams handed in.
    datagrams_in,
    /// Bytes of them.
    bytes_in,
    /// Datagrams handed out.
    datagrams_out,
    /// Bytes of them.
    bytes_out,
    /// Empty datagrams, and such that are too short for what they begin with.
    short,
    /// Datagrams longer than `UDP_PAYLOAD_MAX`.
    long,
    /// Datagrams of no known kind.
    unknown_kind,
    /// Handshake datagrams of another protocol version, or of the wrong length for their kind.
    bad_handshake,
    /// Datagrams that only the other side may send.
    wrong_side,
    /// HELLOs answered with a CHALLENGE.
    hellos,
    /// CONNECTs with a cookie of another address, another nonce or an old bucket.
    bad_cookie,
    /// CONNECTs whose token opens with no key of its battle.
    forged_token,
    /// CONNECTs whose token names a key id that its battle does not have here.
    unknown_kid,
    /// CONNECTs whose client part does not open or is malformed.
    forged_client_part,
    /// CONNECTs whose key share is not a point to agree on.
    bad_key_share,
    /// CONNECTs for a battle that is not here.
    denied_not_here,
    /// CONNECTs denied because the token had expired.
    denied_expired,
    /// CONNECTs denied because the token is from the future.
    denied_not_yet_valid,
    /// CONNECTs denied because the protocol differs.
    denied_protocol_hash,
    /// CONNECTs denied because the math self-test differs.
    denied_math,
    /// CONNECTs denied because the battle is over.
    denied_battle_over,
    /// CONNECTs denied because a newer connection holds the seat.
    denied_superseded,
    /// CONNECTs denied because no slot is free.
    denied_full,
    /// CONNECTs denied because the battle gives no frame feed.
    denied_no_frame_feed,
    /// CONNECTs of seats that joined too often of late, dropped without a word.
    hasty_joins,
    /// Connections accepted.
    accepted,
    /// ACCEPTs said again to a repeated CONNECT.
    accepts_repeated,
    /// Connections that gave way to a newer one of the same seat.
    replaced,
    /// Answers that found no place to wait for the socket.
    answers_dropped,
    /// Packets for a connection that is not here.
    unknown_connection,
    /// RESETs: said to packets of unknown connections, or heard of the own one.
    resets,
    /// Packets whose number was seen before or is too old to tell.
    replayed,
    /// Packets that do not open: altered, or of another session.
    forged_packet,
    /// Packets that opened and hold something malformed; their sender's connection is closed.
    malformed_packet,
    /// KCP blocks refused before they reached KCP.
    kcp_refused,
    /// Packets and messages beyond the byte or message cap of a connection.
    over_budget,
    /// Datagram messages dropped because the application did not take events.
    events_full,
    /// Datagram messages that gave way to newer ones before they were sent.
    datagrams_superseded,
    /// Packets of a connection that came over another stream than its own.
    wrong_path,
    /// New source addresses of living connections that were challenged.
    paths_challenged,
    /// New source addresses that answered, and are followed.
    paths_followed,
    /// Streams that came in and began with something like packets.
    streams_opened,
    /// Streams that were closed at once, because there were too many or they are not offered.
    streams_refused,
    /// Streams that ended because what came was not made of packets.
    streams_malformed,
    /// Streams that were cut: without a session in time, or taking nothing for too long.
    streams_cut,
    /// Datagrams of QUIC that were dropped because the task that takes them was behind.
    quic_dropped,
    /// Connections that ended by silence.
    timed_out,
    /// Connections cut because their reliable lane was full or stalled.
    slow_readers,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_iterator_names_every_counter_once() {
        let counters = Counters { datagrams_in: 3, slow_readers: 4, ..Counters::default() };
        let names: std::collections::BTreeSet<_> = counters.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), counters.iter().count());
        assert_eq!(counters.iter().map(|(_, value)| value).sum::<u64>(), 7);
        assert_eq!(counters.iter().last(), Some(("slow_readers", 4)));
    }
}
