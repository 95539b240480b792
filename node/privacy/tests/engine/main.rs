//! The engine as its callers see it: what is accepted, what is refused with which words, and what
//! comes out for known data.
//!
//! One test binary, because each links DataFusion.

mod answers;
#[path = "../../examples/fuzz/check.rs"]
mod check;
mod data_keys;
mod executions;
#[path = "../../benches/private_sql/files.rs"]
mod files;
mod golden;
#[path = "../../examples/fuzz/hospital.rs"]
mod hospital;
#[path = "../../examples/fuzz/input.rs"]
mod input;
mod language;
mod measures;
mod parts;
mod replay;
mod scalars;
mod session;
mod statements;
mod support;
mod tracking;
