//! A harness for end-to-end tests: whole networks of real processes on loopback.
//!
//! | module | what |
//! | --- | --- |
//! | [`attack`] | attacks on privacy, in process and on a node |
//! | [`network`] | a deployment on disk, and its services as processes |
//! | [`process`] | one process: its lines, its death |
//! | [`flight`] | a node's Flight service as its coordinator, or anybody else, sees it |
//! | [`python`] | scripts that know nothing of Ward's code |

pub mod attack;
pub mod flight;
pub mod network;
pub mod process;
pub mod python;
