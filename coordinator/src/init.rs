//! `ward-coordinator init`: a directory to start from.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// The configuration that `init` writes: every field, with its default and its meaning.
const CONFIG: &str = include_str!("coordinator.toml");

/// Makes a directory with a commented configuration and room for certificates, templates and
/// data; answers the configuration's path.
///
/// # Errors
/// When the directory holds a configuration already, or can't be written.
pub fn init(dir: &Path) -> Result<PathBuf, InitError> {
    let file = dir.join("coordinator.toml");
    let failed = |source| InitError::Write {
        dir: dir.to_owned(),
        source,
    };
    for room in ["data", "templates", "tls"] {
        private_dir(&dir.join(room)).map_err(failed)?;
    }
    let mut options = fs::OpenOptions::new();
    let opened = options.write(true).create_new(true).open(&file);
    let mut config = opened.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => InitError::Exists { file: file.clone() },
        _ => failed(source),
    })?;
    io::Write::write_all(&mut config, CONFIG.as_bytes()).map_err(failed)?;
    Ok(file)
}

/// Makes a directory for this service alone, where there is none.
pub(crate) fn private_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(dir)
}

/// Why no directory was made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// It is there already.
    #[error("{} exists; edit it, or choose another directory", file.display())]
    Exists {
        /// The configuration.
        file: PathBuf,
    },
    /// It can't be written.
    #[error("{}: can't be written: {source}; check the path and the permissions", dir.display())]
    Write {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, TokenHash};

    #[test]
    fn what_init_writes_can_be_read_and_names_every_field() {
        let dir = tempfile::tempdir().expect("directory");
        let file = init(dir.path()).expect("written");
        let config = Config::load(&file).expect("config");
        let fields = toml::Value::try_from(&config).expect("TOML");
        for field in fields.as_table().expect("table").keys() {
            assert!(CONFIG.contains(field), "{field} is not in what init writes");
        }
        assert!(matches!(init(dir.path()), Err(InitError::Exists { .. })));
    }

    #[test]
    fn the_examples_in_it_can_be_uncommented() {
        let key = "ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let text = CONFIG.replace("\n#: ", "\n").replace("ed25519:…", key);
        // As it is, the example lets nobody in.
        assert!(Config::parse(&text, Path::new("coordinator.toml")).is_err());
        let text = text.replace('…', &TokenHash::of("ada's").to_string());
        let config = Config::parse(&text, Path::new("coordinator.toml")).expect("config");
        assert_eq!(config.nodes.len(), 1);
        assert_eq!(config.access_bodies.len(), 1);
        assert_eq!(config.requesters.len(), 1);
    }
}
