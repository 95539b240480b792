//! The coordinator: sends approved questions to nodes, and merges what comes back.
//!
//! It is trusted with nothing: nodes check every permit themselves, charge their own ledgers and
//! sign what they send. What it decides is a function of values, apart from the IO that feeds it:
//! [`permit_check`], [`choose_plan`], [`accept_partial`], [`authenticate`].

mod accept;
mod agree;
mod api;
mod ask;
mod auth;
mod catalogue;
mod config;
mod init;
mod node;
mod offers;
mod permit;
mod retry;
mod service;
mod store;
#[cfg(test)]
mod testing;

pub use accept::{Accepted, ComponentRow, Expected, Received, accept_partial};
pub use agree::{Agreed, Quotes, choose_plan};
pub use auth::authenticate;
pub use catalogue::CatalogueError;
pub use config::{
    AccessBody, AddressSyntax, Config, ConfigError, NodeAddress, NodeConfig, RequesterConfig,
    TokenHash, TokenHashSyntax,
};
pub use init::{InitError, init};
pub use permit::permit_check;
pub use service::{Coordinator, OpenError};
pub use store::StoreError;
pub use ward_omop::vocabulary;
