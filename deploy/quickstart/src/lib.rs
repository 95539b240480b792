//! A whole Ward network on one machine.
//!
//! | module | what |
//! | --- | --- |
//! | [`deployment`] | makes one on disk: certificates, coordinator, nodes with data, a requester with a permit |
//! | [`pki`] | its certification authority |
//!
//! The binary `quickstart` runs such a network in one process, and asks it three questions.

pub mod deployment;
pub mod pki;
