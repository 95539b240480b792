//! What both sides of Ward agree on.
//!
//! Pure: no IO, no async, no clock, no query engine. Every message is versioned and refuses
//! unknown fields; every content hash is over the canonical form of [`canonical`].
//!
//! | module | what |
//! | --- | --- |
//! | [`cdm`] | clinical data model: tables, columns, privacy classes |
//! | [`template`], [`parameter`], [`key`], [`data_key`], [`library`] | tabulation plans and those that ship |
//! | [`permit`], [`ask`], [`jws`] | who may ask, what is asked, and the signatures under both |
//! | [`plan`], [`partial`], [`finish`] | integer vectors: layout and noise, merge, final values |
//! | [`rho`], [`delta`], [`loss`], [`threshold`], [`cost`] | privacy losses and what they pay for |
//! | [`release`] | the merged answer |
//! | [`wire`], [`problem`] | control messages and typed errors |

pub mod ask;
pub mod canonical;
pub mod cdm;
pub mod cost;
pub mod data_key;
pub mod decimal;
pub mod delta;
pub mod ehds;
pub mod finish;
pub mod functions;
pub mod jws;
pub mod key;
pub mod library;
pub mod loss;
pub mod names;
pub mod parameter;
pub mod partial;
pub mod permit;
pub mod plan;
pub mod problem;
pub mod release;
pub mod rho;
pub mod snapshot;
pub mod template;
pub mod threshold;
pub mod wire;
