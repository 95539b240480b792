//! A running node.

use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use futures::Stream;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tonic::transport::Server;
use url::Url;
use ward_privacy::{NoiseSource, SelectionKey};
use ward_schemas::canonical::ContentHash;
use ward_schemas::jws::{KeyRing, SigningKey, VerifyingKey};
use ward_schemas::names::NodeName;
use ward_transport::{ClientAuth, TlsConnection, TlsFiles};

use crate::answer::{Answerer, Stages, Ticks, Turns};
use crate::audit::{self, Event};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, CoordinatorConfig};
use crate::error::NodeError;
use crate::gate::Rules;
use crate::keys;
use crate::service::{MAX_REQUEST_BYTES, Service};
use crate::state::State;
use crate::store::{HeadFile, Store};
use crate::strangers::Strangers;
use crate::vocabulary::Shelf;

/// What a node runs with: in production, [`NodeOptions::default`].
pub struct NodeOptions {
    /// Where noise comes from.
    pub noise: NoiseSource,
    /// A hook for tests.
    pub stages: Option<Arc<dyn Stages>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            noise: NoiseSource::discrete_gaussian(),
            stages: None,
            clock: Arc::new(SystemClock),
        }
    }
}

/// A hospital's node.
pub struct Node {
    pub(crate) answerer: Arc<Answerer>,
}

impl Node {
    /// Opens a node's state and keys. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// When the state or a key can't be used; the error names the file and the remedy.
    pub async fn open(config: Config, options: NodeOptions) -> Result<Self, NodeError> {
        let signing = keys::signing(&config.keys.signing)?;
        let selection = SelectionKey::from_bytes(keys::secret(&config.keys.selection)?);
        let exported = exported_head(config.audit.head_file.as_deref())?;
        let state = State::open(config, options.clock).await?;
        state.account_for_import().await?;
        let rules = rules(&state.config);
        let runs = Semaphore::new(state.config.answers.max_concurrent);
        let ticks = Ticks::start(state.config.answers.reply_tick());
        Ok(Self {
            answerer: Arc::new(Answerer {
                state,
                rules,
                signing,
                selection,
                noise: options.noise,
                stages: options.stages,
                exported,
                turns: Turns::default(),
                runs,
                ticks,
                strangers: Strangers::default(),
            }),
        })
    }

    /// The node's name.
    pub fn name(&self) -> &NodeName {
        &self.answerer.rules.node
    }

    /// The key that the node's partials are signed with.
    pub fn verifying_key(&self) -> VerifyingKey {
        self.answerer.signing.verifying_key()
    }

    /// Binds the configured address, once certificate, key and certification authority are in order.
    ///
    /// # Errors
    /// When they aren't, or the address can't be bound.
    pub async fn listen(&self) -> Result<TcpListener, NodeError> {
        self.tls()?;
        let address = &self.answerer.state.config.listen;
        TcpListener::bind(address)
            .await
            .map_err(|source| NodeError::Listen {
                address: address.clone(),
                source,
            })
    }

    /// Serves on a listener, over mutual TLS, until `shutdown` is done; calls under way end first.
    ///
    /// # Errors
    /// When certificate, key or certification authority can't be used, or the service fails.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), NodeError> {
        let connections = ward_transport::incoming(listener, self.tls()?);
        self.serve_connections(connections, shutdown).await
    }

    /// Serves any stream of connections.
    ///
    /// # Errors
    /// When the coordinator's certification authority can't be used, or the service fails.
    pub async fn serve_connections(
        &self,
        connections: impl Stream<Item = io::Result<TlsConnection>> + Send,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), NodeError> {
        let fetching = self.fetch_vocabulary()?;
        let service = FlightServiceServer::new(Service(Arc::clone(&self.answerer)))
            .max_decoding_message_size(MAX_REQUEST_BYTES);
        let served = Server::builder()
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .add_service(service)
            .serve_with_incoming_shutdown(connections, shutdown)
            .await;
        fetching.abort();
        served.map_err(|e| NodeError::Serve(e.to_string()))
    }

    fn tls(&self) -> Result<Arc<rustls::ServerConfig>, NodeError> {
        let files = &self.answerer.state.config.tls;
        Ok(ward_transport::server_config(files, ClientAuth::Required)?)
    }

    fn fetch_vocabulary(&self) -> Result<tokio::task::JoinHandle<()>, NodeError> {
        let Config {
            tls, coordinator, ..
        } = &self.answerer.state.config;
        let source = match coordinator {
            Some(coordinator) => Some((client(tls, coordinator)?, coordinator.clone())),
            None => None,
        };
        let shelf = Arc::clone(&self.answerer.state.shelf);
        let store = self.answerer.state.store.clone();
        Ok(tokio::spawn(keep_fetching(shelf, store, source)))
    }
}

fn client(tls: &TlsFiles, coordinator: &CoordinatorConfig) -> Result<reqwest::Client, NodeError> {
    let resolve = coordinator.url.host_str().zip(coordinator.resolve);
    Ok(ward_transport::http_client(&tls.ca, Some(tls), resolve)?)
}

/// Looks for the package, on the shelf and at the coordinator, until it is there.
async fn keep_fetching(
    shelf: Arc<Shelf>,
    store: Store,
    source: Option<(reqwest::Client, CoordinatorConfig)>,
) {
    const LONGEST: Duration = Duration::from_secs(30);
    let mut pause = Duration::from_millis(200);
    while shelf.is_wanted() && !shelf.load().await.unwrap_or(false) {
        if let Some((client, coordinator)) = &source {
            match shelf.fetch(client, coordinator).await {
                Ok(hash) => audit_fetched(&store, hash, &coordinator.url).await,
                Err(error) => tracing::warn!(%error, "no vocabulary package yet"),
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
}

async fn audit_fetched(store: &Store, vocabulary: ContentHash, from: &Url) {
    tracing::info!(%vocabulary, "fetched the vocabulary package");
    let event = Event::VocabularyAdded {
        vocabulary,
        by: from.to_string(),
    };
    let written = store.write(move |db, now| Box::pin(audit::append(db, now, event)));
    if let Err(error) = written.await {
        tracing::error!(%error, "that the vocabulary package was fetched can't be audited");
    }
}

fn rules(config: &Config) -> Rules {
    let keys = config.access_bodies.iter();
    Rules {
        node: config.name.clone(),
        access_bodies: KeyRing::new(keys.map(|body| (body.key, body.name.clone()))),
        max_rho_per_ask: config.policy.max_rho_per_ask,
        min_rho_per_ask: config.policy.min_rho_per_ask,
    }
}

fn exported_head(
    file: Option<&Path>,
) -> Result<Option<ward_schemas::partial::AuditHead>, NodeError> {
    match file {
        Some(file) => Ok(HeadFile(file.to_owned()).read()?),
        None => Ok(None),
    }
}

/// Reads a node's signing key: for whoever must know its public half.
///
/// # Errors
/// When the file is not there or no key.
pub fn verifying_key(config: &Config) -> Result<VerifyingKey, NodeError> {
    let key: SigningKey = keys::signing(&config.keys.signing)?;
    Ok(key.verifying_key())
}
