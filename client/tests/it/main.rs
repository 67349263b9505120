//! Players against a small battle host, over bad links, in virtual time; a few over real sockets.

mod clean;
mod faults;
mod gate;
mod host;
mod hostile_state;
mod lossy;
mod real_sockets;
mod world;
