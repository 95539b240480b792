//! Attacks on the privacy of answers. Each comes with its *mutants*: faults that the same check must
//! find. `cargo test -p ward-tests --test attack` runs them alone.
//!
//! | module | attack |
//! | --- | --- |
//! | [`distinguishing`] | is this patient in the data? μ over 240,000 releases a side |
//! | [`differencing`] | two asks that differ in one patient |
//! | [`noise`] | is it as much noise as declared, of the right shape, and fresh? |
//! | [`reconstruction`] | 200 secrets from 800 counts |

mod cells;
mod differencing;
mod distinguishing;
mod noise;
mod reconstruction;
