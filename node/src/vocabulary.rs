//! The network's vocabulary package at this node: one file, named and checked by its hash.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use ward_data::vocabulary::Package;
use ward_schemas::canonical::ContentHash;
use ward_schemas::problem::{ErrorCode, Problem};

use crate::config::CoordinatorConfig;

/// The largest package that is fetched, in bytes.
const MAX_PACKAGE_BYTES: usize = 4 << 30;

/// Where the package is kept, and the package once it is there.
pub(crate) struct Shelf {
    dir: PathBuf,
    wanted: Option<ContentHash>,
    package: RwLock<Option<Arc<Package>>>,
}

impl Shelf {
    /// A shelf in a directory for the package of this hash.
    pub(crate) fn new(dir: PathBuf, wanted: Option<ContentHash>) -> Self {
        Self {
            dir,
            wanted,
            package: RwLock::new(None),
        }
    }

    /// Whether the configuration names a package.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.is_some()
    }

    /// The package.
    ///
    /// # Errors
    /// [`ErrorCode::NodeNotReady`] while it isn't there.
    pub(crate) fn package(&self) -> Result<Arc<Package>, Problem> {
        self.loaded().ok_or_else(|| {
            Problem::new(
                ErrorCode::NodeNotReady,
                "this node does not have the network's vocabulary package yet",
                "Ask again later; the steward can add it with `ward-node vocabulary add FILE`.",
            )
        })
    }

    /// The package, if it is there.
    pub(crate) fn loaded(&self) -> Option<Arc<Package>> {
        self.package
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Loads the package from the shelf; `false` if it isn't there.
    pub(crate) async fn load(self: &Arc<Self>) -> Result<bool, VocabularyError> {
        let Some(wanted) = self.wanted else {
            return Ok(false);
        };
        let file = self.file(wanted);
        if self.loaded().is_some() || !file.exists() {
            return Ok(self.loaded().is_some());
        }
        let bytes = read(file).await?;
        self.check_in(bytes, wanted).await?;
        Ok(true)
    }

    /// Puts a package file on the shelf.
    pub(crate) async fn add(self: &Arc<Self>, file: &Path) -> Result<ContentHash, VocabularyError> {
        let wanted = self.wanted.ok_or(VocabularyError::NotConfigured)?;
        self.store(read(file.to_owned()).await?, wanted).await
    }

    /// Fetches the package from the coordinator and puts it on the shelf.
    pub(crate) async fn fetch(
        self: &Arc<Self>,
        client: &reqwest::Client,
        coordinator: &CoordinatorConfig,
    ) -> Result<ContentHash, VocabularyError> {
        let wanted = self.wanted.ok_or(VocabularyError::NotConfigured)?;
        let bytes = download(client, coordinator, wanted).await?;
        self.store(bytes, wanted).await
    }

    async fn store(
        self: &Arc<Self>,
        bytes: Vec<u8>,
        wanted: ContentHash,
    ) -> Result<ContentHash, VocabularyError> {
        let copy = bytes.clone();
        self.check_in(bytes, wanted).await?;
        let (dir, file) = (self.dir.clone(), self.file(wanted));
        blocking(move || write_whole(&dir, &file, &copy)).await?;
        Ok(wanted)
    }

    async fn check_in(
        self: &Arc<Self>,
        bytes: Vec<u8>,
        wanted: ContentHash,
    ) -> Result<(), VocabularyError> {
        let found = ContentHash::of_bytes(&bytes);
        if found != wanted {
            return Err(VocabularyError::Hash { wanted, found });
        }
        let package = blocking(move || {
            Package::from_bytes(bytes).map_err(|e| VocabularyError::Unreadable(e.to_string()))
        })
        .await?;
        *self.package.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(package));
        Ok(())
    }

    fn file(&self, hash: ContentHash) -> PathBuf {
        self.dir
            .join(format!("{}.tar", hex::encode(hash.as_bytes())))
    }
}

async fn read(file: PathBuf) -> Result<Vec<u8>, VocabularyError> {
    tokio::fs::read(&file)
        .await
        .map_err(|source| VocabularyError::File { file, source })
}

async fn download(
    client: &reqwest::Client,
    coordinator: &CoordinatorConfig,
    hash: ContentHash,
) -> Result<Vec<u8>, VocabularyError> {
    let base = coordinator.url.as_str().trim_end_matches('/');
    let url = format!("{base}/v1/vocabulary/{hash}");
    let failed = |e: reqwest::Error| VocabularyError::Fetch {
        url: url.clone(),
        reason: chain(&e),
    };
    let mut response = client
        .get(&url)
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        .map_err(failed)?;
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if bytes.len() + chunk.len() > MAX_PACKAGE_BYTES {
            return Err(VocabularyError::Unreadable("it is too large".into()));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |e| e.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn write_whole(dir: &Path, file: &Path, bytes: &[u8]) -> Result<(), VocabularyError> {
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(dir)?;
        let mut temporary = tempfile::NamedTempFile::new_in(dir)?;
        temporary.write_all(bytes)?;
        temporary.as_file().sync_all()?;
        temporary.persist(file)?;
        std::fs::File::open(dir)?.sync_all()
    };
    write().map_err(|source| VocabularyError::File {
        file: file.to_owned(),
        source,
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VocabularyError> + Send + 'static,
) -> Result<T, VocabularyError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(VocabularyError::Unreadable(e.to_string())))
}

/// Why there is no vocabulary package.
#[derive(Debug, thiserror::Error)]
pub enum VocabularyError {
    /// The configuration names none.
    #[error(
        "the configuration names no vocabulary package; set `hash` under [vocabulary] to the network's"
    )]
    NotConfigured,
    /// It is another package.
    #[error(
        "the package's hash is {found}, and the configuration names {wanted}; get the network's package, or correct `hash` under [vocabulary]"
    )]
    Hash {
        /// In the configuration.
        wanted: ContentHash,
        /// Of the file.
        found: ContentHash,
    },
    /// A file can't be read or written.
    #[error("the file {} can't be read or written: {source}; check its path and the disk's free space", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The coordinator doesn't give it.
    #[error(
        "{url} can't be fetched: {reason}; check `url` under [coordinator], or add the file with `ward-node vocabulary add FILE`"
    )]
    Fetch {
        /// The package's URL.
        url: String,
        /// Why.
        reason: String,
    },
    /// It is no package.
    #[error("the package can't be read: {0}; make it with `ward-coordinator vocabulary pack`")]
    Unreadable(String),
}
