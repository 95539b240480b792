//! `ward`: the requester's and the access body's command line.
//!
//! | module | what |
//! | --- | --- |
//! | [`args`] | what can be typed |
//! | [`commands`] | what it does |
//! | [`profile`], [`client`] | which coordinator, and how to talk to it |
//! | [`permit`], [`keys`] | issuing and inspecting permits, Ed25519 keys |
//! | [`render`], [`export`], [`progress`] | answers for people, answers for programs, the wait |

pub mod args;
pub mod client;
pub mod commands;
pub mod export;
pub mod keys;
pub mod permit;
pub mod profile;
pub mod progress;
pub mod render;
