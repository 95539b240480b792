//! The engine as its callers see it: what is accepted, what is refused with which words, and what
//! comes out for known data.
//!
//! One test binary, because each links DataFusion.

mod answers;
mod executions;
mod extremes;
#[path = "../../benches/private_sql/files.rs"]
mod files;
mod golden;
mod language;
mod parts;
mod scalars;
mod session;
mod statements;
mod support;
mod tracking;
