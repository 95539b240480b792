//! TLS between the parts of Ward: who may connect, and who it is that did.
//!
//! One acceptor of our own, for Flight and HTTP alike: it verifies client certificates against
//! the network's certification authority and puts the [`Peer`] into every request. A node is
//! known by its certificate's name, never by its address.

mod client;
mod limits;
mod peer;
mod server;
mod tls;

pub use client::{channel, http_client};
pub use limits::Limits;
pub use peer::{ConnectionPeer, Peer};
pub use server::{TlsConnection, incoming, incoming_within, serve_http, serve_http_within};
pub use tls::{
    ClientAuth, TlsError, TlsFiles, client_config, install_crypto_provider, server_config,
};
