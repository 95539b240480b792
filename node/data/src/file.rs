//! Files that have to survive a crash.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use ward_schemas::canonical::ContentHash;

/// A file of the data directory that can't be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}; check the permissions, the free space and the disk of the data directory", path = path.display())]
pub struct FileError {
    /// The file or directory.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Says which file an error is about.
pub(crate) trait At<T> {
    fn at(self, path: &Path) -> Result<T, FileError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, FileError> {
        self.map_err(|source| FileError {
            path: path.to_owned(),
            source,
        })
    }
}

/// Makes a directory that only the node's own account can enter.
pub(crate) fn create_dir(path: &Path) -> Result<(), FileError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).at(path)
}

/// Makes a directory's entries durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), FileError> {
    File::open(path).and_then(|dir| dir.sync_all()).at(path)
}

/// Writes a file such that after a crash it is there as a whole, or as it was before.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir).at(path)?;
    file.write_all(bytes).at(path)?;
    file.as_file().sync_all().at(path)?;
    file.persist(path).map_err(|e| e.error).at(path)?;
    sync_dir(dir)
}

/// The SHA-256 of a file.
pub(crate) fn hash(path: &Path) -> Result<ContentHash, FileError> {
    let mut hashing = Hashing::new(io::sink());
    let mut file = File::open(path).at(path)?;
    io::copy(&mut file, &mut hashing).at(path)?;
    Ok(hashing.hash())
}

/// The names in a directory; none if it is not there.
pub(crate) fn names(dir: &Path) -> Result<Vec<String>, FileError> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.at(dir)?,
    };
    entries
        .map(|entry| Ok(entry.at(dir)?.file_name().to_string_lossy().into_owned()))
        .collect()
}

/// Hashes what is written through it.
pub(crate) struct Hashing<W> {
    inner: W,
    hasher: Sha256,
    bytes: u64,
}

impl<W> Hashing<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            bytes: 0,
        }
    }

    pub(crate) fn inner(&self) -> &W {
        &self.inner
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn hash(self) -> ContentHash {
        ContentHash::from_digest(self.hasher.finalize().into())
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buffer)?;
        self.hasher.update(&buffer[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
