//! Time, as something that can be given.

use std::time::SystemTime;

use chrono::{DateTime, Utc};

/// Tells the time. What the ledger and the gate use never goes back, whatever this says: the
/// highest time seen is stored, and later times are at least that.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> DateTime<Utc>;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        SystemTime::now().into()
    }
}
