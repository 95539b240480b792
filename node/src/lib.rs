//! The node: Ward's service at one hospital.
//!
//! An ask's way through it, and where each step lives:
//!
//! | step | module |
//! | --- | --- |
//! | who calls, and what | `service` |
//! | is it allowed? | [`gate`], pure |
//! | has it been answered? what is charged? | [`ledger`] |
//! | noise, run, store, release | [`answer`], over `ward-privacy` |
//! | who did what | [`audit`] |
//! | which templates, decided by whom | [`approvals`] |
//! | one durable transaction at a time | `store` |
//!
//! [`steward`] has what the commands of `ward-node` do.

pub mod answer;
pub mod approvals;
pub mod audit;
pub mod budget;
pub mod clock;
pub mod config;
pub mod cost;
mod engine;
pub mod error;
pub mod flight;
pub mod gate;
pub mod init;
mod keys;
pub mod ledger;
pub mod node;
mod service;
mod state;
pub mod steward;
pub mod store;
mod strangers;
pub mod vocabulary;

pub use answer::{Stage, Stages};
pub use clock::{Clock, SystemClock};
pub use config::Config;
pub use error::NodeError;
pub use init::{InitOptions, Initialised, init};
pub use node::{Node, NodeOptions};
pub use steward::Steward;
