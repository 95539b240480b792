//! End-to-end tests: one binary, since each that links the query engine takes long to link.
//!
//! What "done" means for Ward's first question, on real processes, real TLS and real clients.
//!
//! | module | what it shows |
//! | --- | --- |
//! | [`answers`] | three questions through every part; frozen noise is refused |
//! | [`architecture`] | who may depend on whom |

mod answers;
mod architecture;

use ward_tests::network::Programs;

/// The programs under test.
const PROGRAMS: Programs = Programs {
    node: env!("CARGO_BIN_EXE_ward-node-under-test"),
    coordinator: env!("CARGO_BIN_EXE_ward-coordinator-under-test"),
};
