//! Attacks on the privacy of answers. Each comes with its *mutants*: faults that the same check must
//! find. `cargo test -p ward-tests --test attack` runs them alone;
//! with `WARD_ATTACK_TIMES=10` those on random hospitals and statements try ten times as many.
//!
//! | module | attack |
//! | --- | --- |
//! | [`distinguishing`] | is this patient in the data? μ over 240,000 releases a side |
//! | [`bits`] | what the last digits of a noisy number tell |
//! | [`coverage`] | intervals hold the truth as often as they say |
//! | [`differencing`] | two asks that differ in one patient |
//! | [`imports`] | neighbouring files, through import and engine |
//! | [`keys`] | a key that one patient has |
//! | [`neighbours`] | any patient, any rows: recorded noise, replayed on the neighbour |
//! | [`nodes`] | a running node: averaging, refusals, the shape of all it says |
//! | [`noise`] | is it as much noise as declared, of the right shape, and fresh? |
//! | [`oracles`] | a row on which SQL fails |
//! | [`reconstruction`] | 200 secrets from 800 counts |
//! | [`thresholds`] | is a value shown that one patient has? |
//! | [`vocabulary`] | a code that one hospital coined |

mod bits;
mod cells;
mod compose;
mod coverage;
mod differencing;
mod distinguishing;
mod hospitals;
mod imports;
mod keys;
mod neighbours;
mod nodes;
mod noise;
mod oracles;
mod reconstruction;
mod statements;
mod thresholds;
mod vocabulary;

use proptest::test_runner::Config as ProptestConfig;
use ward_tests::network::Programs;

/// The programs under test.
const PROGRAMS: Programs = Programs {
    node: env!("CARGO_BIN_EXE_ward-node-under-test"),
    coordinator: env!("CARGO_BIN_EXE_ward-coordinator-under-test"),
};

/// So many cases, or `WARD_ATTACK_TIMES` as many; what fails is printed, and leaves no file behind.
fn cases(cases: u32) -> ProptestConfig {
    let times = std::env::var("WARD_ATTACK_TIMES");
    let times = times.map_or(1, |times| times.parse().expect("a number"));
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases * times)
    }
}
