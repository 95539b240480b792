//! The node's secrets in files that the service alone can read.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use ward_schemas::jws::SigningKey;

use crate::error::NodeError;

/// Reads the key that signs partials.
pub(crate) fn signing(file: &Path) -> Result<SigningKey, NodeError> {
    let pem = read(file)?;
    SigningKey::from_pem(&pem).map_err(|e| unusable(file, &e))
}

/// Reads a secret of so many bytes, in hex.
pub(crate) fn secret<const N: usize>(file: &Path) -> Result<[u8; N], NodeError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(read(file)?.trim(), &mut bytes)
        .map_err(|_| unusable(file, &format!("it is not {} hex digits", 2 * N)))?;
    Ok(bytes)
}

/// Writes a fresh random secret of so many bytes.
pub(crate) fn write_fresh<const N: usize>(file: &Path) -> io::Result<()> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    write_private(file, &(hex::encode(bytes) + "\n"))
}

/// Writes a new file that nobody else can read.
pub(crate) fn write_private(file: &Path, content: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(file)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

fn read(file: &Path) -> Result<String, NodeError> {
    std::fs::read_to_string(file).map_err(|e| unusable(file, &e))
}

fn unusable(file: &Path, reason: &dyn Display) -> NodeError {
    NodeError::Key {
        file: file.to_owned(),
        reason: reason.to_string(),
    }
}
