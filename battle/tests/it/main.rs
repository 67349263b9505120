//! A node's promises, room by room. The tests with threads or sockets say so in their names.

mod chance;
mod game;
mod hostile;
mod node_sockets;
mod recording;
mod room;
mod worker;
