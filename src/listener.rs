//! From a listening socket to connections: bind, accept, refuse what is too much.

pub mod accept;
pub mod connection;
pub mod transport;
