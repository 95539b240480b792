//! Attacks on the privacy of answers, and the checks that decide whether they succeed.
//!
//! An attack is a test of `tests/tests/attack/`, and each has a *mutant*: an engine, a node or an import with one
//! fault, which the same check must find. Here is what they share:
//!
//! | module | what |
//! | --- | --- |
//! | [`engine`] | a template in process: compiled, run on given tables |
//! | [`hospital`] | small hospitals in memory, in any layout |
//! | [`neighbour`] | how far one patient moves an answer |
//! | [`gaussian`] | the noise as it should be; distinguishing with it |
//! | [`node`] | what can be tried on any running node |
//! | [`plain`] | the same statement without privacy |
//! | [`random`] | data without pattern |
//! | [`raw`] | hospitals as files, imported |
//! | [`reconstruction`] | secrets from many noisy counts |

pub mod engine;
pub mod gaussian;
pub mod hospital;
pub mod neighbour;
pub mod node;
pub mod plain;
pub mod random;
pub mod raw;
pub mod reconstruction;
