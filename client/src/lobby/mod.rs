//! The lobby session: everything before and after a battle, over the gate's WebSocket.

mod error;
mod session;
mod ticket;
mod wire;

pub use error::LobbyError;
pub use session::{LobbySession, LobbySettings};
pub use ticket::{BattleTicket, TicketError};
