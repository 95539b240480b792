//! Generated hospitals, read back.

mod epidemiology;
mod soundness;
mod support;
