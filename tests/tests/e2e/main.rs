//! End-to-end tests: one binary, since each that links the query engine takes long to link.
//!
//! What "done" means for Ward's first question, on real processes, real TLS and real clients.
//!
//! | module | what it shows |
//! | --- | --- |
//! | [`answers`] | three questions through every part; frozen noise is refused |
//! | [`accuracy`] | answers err by as much as their intervals say |
//! | [`bounding`] | without noise, answers are DuckDB's |
//! | [`crash`] | `kill -9` anywhere: one charge, one answer |
//! | [`replay`] | same ask, same answer; parallel asks and the last of the budget |
//! | [`stranger`] | what a plain Flight client can do |
//! | [`refusals`], [`disk`] | bad input costs nothing and says what to do |
//! | [`silence`] | nothing of patients in logs and control messages |
//! | [`architecture`] | who may depend on whom |

mod accuracy;
mod answers;
mod architecture;
mod bounding;
mod crash;
mod data_keys;
mod disk;
mod refusals;
mod replay;
mod silence;
mod stranger;

use ward_tests::network::Programs;
use ward_tests::python::Python;

/// The programs under test.
const PROGRAMS: Programs = Programs {
    node: env!("CARGO_BIN_EXE_ward-node-under-test"),
    coordinator: env!("CARGO_BIN_EXE_ward-coordinator-under-test"),
};

/// Python with its packages, or a loud line on stderr.
fn python() -> Option<&'static Python> {
    Python::get(env!("CARGO_TARGET_TMPDIR"))
}
