//! The gate: WebSockets for clients, and the HTTP endpoints for operators.

mod http;
mod listener;
mod rate;
mod session;
mod websocket;

pub(crate) use http::operator_routes;
pub(crate) use listener::{Listener, serve};
pub(crate) use session::{Incoming, Socket, run_session};
pub(crate) use websocket::gate_routes;
