//! An import's progress bar.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use ward_data::Progress;

/// One line for each table, drawn on a terminal only.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::no_length();
        let style = ProgressStyle::with_template(
            "{prefix:>22} [{bar:32}] {bytes:>10} / {total_bytes:<10} {eta:>4}",
        );
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    pub(crate) fn done(&self) {
        self.0.finish_and_clear();
    }
}

impl Progress for Bar {
    fn table(&self, name: &str, total_bytes: u64) {
        self.0.set_prefix(name.to_owned());
        self.0.set_length(total_bytes);
        self.0.set_position(0);
        self.0.reset_eta();
    }

    fn advanced(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    fn finished(&self) {
        self.0.set_position(self.0.length().unwrap_or(0));
    }
}
