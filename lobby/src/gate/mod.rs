//! The gate: WebSockets for clients, in the lobby's process or in one of its own, and the sessions behind them.

mod front;
mod linked;
mod listener;
mod rate;
mod session;
mod websocket;

pub(crate) use front::{Front, carry};
pub use front::{Gate, GateConfig, GateStatus};
pub(crate) use linked::{Linked, LinkedSessions};
pub(crate) use listener::{Listener, serve};
pub(crate) use session::{Incoming, Socket, run_session};
pub(crate) use websocket::gate_routes;
