//! What a lobby and a gate count.

tiltyard_cluster::counters! {
    /// What a lobby counts: whatever is done, dropped, limited or refused.
    pub struct LobbyCounters {
        /// Sessions begun.
        sessions,
        /// Sessions closed for want of hello or login in time.
        sessions_unauthenticated_timeout,
        /// Sessions closed because nothing was heard.
        sessions_idle,
        /// Sessions closed because the client did not read.
        sessions_slow,
        /// Sessions whose player logged in elsewhere.
        sessions_replaced,
        /// Messages read.
        messages_in,
        /// Messages written.
        messages_out,
        /// Frames that were no message, or no proper frame.
        messages_malformed,
        /// Frames above the size of a message.
        messages_too_long,
        /// Messages dropped because they came too fast.
        messages_rate_limited,
        /// Messages that did not fit the session's state.
        messages_out_of_place,
        /// Messages for a client that were dropped because its queue was full.
        messages_out_dropped,
        /// Guests made.
        logins,
        /// Logins refused because their address had too many.
        logins_limited,
        /// Accounts made with a name and a password.
        accounts_made,
        /// Logins with a name and its password.
        password_logins,
        /// Logins refused because no account has this name and password.
        passwords_refused,
        /// Registrations and logins refused because too many passwords waited to be reckoned.
        passwords_busy,
        /// Sessions resumed.
        resumes,
        /// Session tokens refused.
        session_tokens_refused,
        /// Tickets queued.
        tickets,
        /// Tickets taken back.
        tickets_cancelled,
        /// Tickets dropped because their player stayed away.
        tickets_absent,
        /// Tickets refused because the queue was full.
        tickets_refused_full,
        /// Tickets refused because their address queued too many.
        tickets_limited,
        /// Fresh battles refused because their address asked for too many.
        fresh_battles_limited,
        /// Fresh battles refused because their address has as many as may run at once.
        fresh_battles_refused_full,
        /// Matches made.
        matches,
        /// Matches made with tickets of other lobbies.
        matches_shared,
        /// Matches of other lobbies of which nothing was heard any more; the store decided them.
        matches_unheard,
        /// Tickets held for matches of other lobbies.
        tickets_held,
        /// Letters from other lobbies.
        letters_in,
        /// Meetings that did not take place because the board did not answer.
        board_away,
        /// Matches that could not be placed; their tickets went back.
        matches_returned,
        /// Battles placed on a node.
        battles_placed,
        /// Battles placed without the directory knowing whose they are.
        battles_unclaimed,
        /// Reservations that a node refused.
        reservations_refused,
        /// Reservations without an answer.
        reservations_unanswered,
        /// Placements given up because no node could take them.
        placements_without_node,
        /// Battle tokens minted.
        tokens_minted,
        /// Results stored.
        results_accepted,
        /// Results applied to the avatars of their players.
        results_applied,
        /// Results that were stored already.
        results_duplicate,
        /// Results of an owner that is none any more.
        results_stale,
        /// Results of battles that the store does not know.
        results_unknown,
        /// Calls that the store did not answer.
        store_errors,
    }
}

tiltyard_cluster::counters! {
    /// What is counted where WebSockets come in.
    pub struct DoorCounters {
        /// Connections taken at the gate.
        gate_connections,
        /// Connections closed at once because the gate was full.
        gate_refused_full,
        /// Connections closed at once because their address had too many.
        gate_refused_address,
        /// Connections that did not become a WebSocket in time or at all.
        gate_refused_handshake,
    }
}

tiltyard_cluster::counters! {
    /// What a gate of its own counts.
    pub struct RelayCounters {
        /// Sessions carried.
        relays,
        /// Sessions that are over.
        relays_ended,
        /// Sessions that went on at another lobby.
        relays_moved,
        /// Sessions whose lobby was lost while it owed an answer; their clients come back by themselves.
        relays_cut,
        /// Sessions that found no lobby in time.
        relays_without_lobby,
    }
}
