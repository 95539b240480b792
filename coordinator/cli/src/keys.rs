//! Ed25519 key files: PKCS #8 PEM, for their owner's eyes only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use ward_schemas::jws::{SigningKey, VerifyingKey};

/// Makes a key, writes its private half to a new file and returns its public half.
///
/// # Errors
/// When the file exists, can't be written, or the operating system gives no randomness.
pub fn generate(file: &Path) -> Result<VerifyingKey, KeyFileError> {
    let key = SigningKey::generate().map_err(|e| KeyFileError::Make(e.to_string()))?;
    let pem = key
        .to_pem()
        .map_err(|e| KeyFileError::Make(e.to_string()))?;
    create(file)
        .and_then(|mut f| f.write_all(pem.as_bytes()).and_then(|()| f.sync_all()))
        .map_err(|source| KeyFileError::Write {
            file: file.to_owned(),
            source,
        })?;
    Ok(key.verifying_key())
}

/// Reads a private key.
///
/// # Errors
/// When the file can't be read, or holds something else.
pub fn read(file: &Path) -> Result<SigningKey, KeyFileError> {
    let pem = fs::read_to_string(file).map_err(|source| KeyFileError::Read {
        file: file.to_owned(),
        source,
    })?;
    SigningKey::from_pem(&pem).map_err(|_| KeyFileError::Content(file.to_owned()))
}

fn create(file: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)
}

/// What is wrong with a key file.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It can't be read.
    #[error("the key file {} can't be read: {source}; check the path and its permissions", file.display())]
    Read {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It can't be written.
    #[error("the key file {} can't be written: {source}; name a new file (a key is never overwritten)", file.display())]
    Write {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{} holds no Ed25519 private key in PKCS #8 PEM; make one with: ward keygen --out FILE", .0.display())]
    Content(PathBuf),
    /// No key could be made.
    #[error("no key could be made: {0}; try again")]
    Make(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_is_never_overwritten() {
        let dir = tempfile::tempdir().expect("dir");
        let file = dir.path().join("body.pem");
        let public = generate(&file).expect("key");
        assert_eq!(read(&file).expect("key").verifying_key(), public);
        let again = generate(&file).expect_err("exists").to_string();
        assert!(again.contains("never overwritten"), "{again}");
    }

    #[cfg(unix)]
    #[test]
    fn only_its_owner_may_read_a_key() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("dir");
        let file = dir.path().join("body.pem");
        generate(&file).expect("key");
        let mode = fs::metadata(&file).expect("file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn another_content_names_the_file_and_the_remedy() {
        let dir = tempfile::tempdir().expect("dir");
        let file = dir.path().join("x.pem");
        fs::write(&file, "hello").expect("written");
        let error = read(&file).expect_err("no key").to_string();
        assert!(
            error.contains("x.pem") && error.contains("ward keygen"),
            "{error}"
        );
    }
}
