//! How far an import has come.

/// Is told how far an import has come.
pub trait Progress: Sync {
    /// A table begins, whose file has so many bytes.
    fn table(&self, name: &str, total_bytes: u64);
    /// So many more bytes of it are done. Half of each byte's work is reading, half is sorting.
    fn advanced(&self, bytes: u64);
    /// The table is done.
    fn finished(&self);
}

/// Keeps quiet.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {
    fn table(&self, _name: &str, _total_bytes: u64) {}
    fn advanced(&self, _bytes: u64) {}
    fn finished(&self) {}
}

/// Turns positions into advances that sum up to the file's length.
pub(crate) struct Meter<'a> {
    progress: &'a dyn Progress,
    total: u64,
    done: u64,
}

impl<'a> Meter<'a> {
    pub(crate) fn start(progress: &'a dyn Progress, table: &str, total: u64) -> Self {
        progress.table(table, total);
        Self {
            progress,
            total,
            done: 0,
        }
    }

    pub(crate) fn read_to(&mut self, position: u64) {
        self.reach(position.min(self.total) / 2);
    }

    pub(crate) fn sorted(&mut self, partitions: usize, of: usize) {
        let half = self.total - self.total / 2;
        let part = u128::from(half) * partitions as u128 / of.max(1) as u128;
        self.reach(self.total / 2 + u64::try_from(part).unwrap_or(half));
    }

    pub(crate) fn finish(mut self) {
        self.reach(self.total);
        self.progress.finished();
    }

    fn reach(&mut self, done: u64) {
        if done > self.done {
            self.progress.advanced(done - self.done);
            self.done = done;
        }
    }
}
