//! The coordinator: everything it holds, from values, and how it is served.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::Utc;
use futures::future::join_all;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use ward_omop::vocabulary::{Package, PackageError};
use ward_schemas::canonical::ContentHash;
use ward_schemas::jws::KeyRing;
use ward_schemas::names::{Ident, NodeName, Subject};
use ward_schemas::problem::Problem;
use ward_schemas::release::ReleaseId;
use ward_schemas::wire::{AskEvent, AskRequest, QuoteReply, TemplateDetail, TemplateSummary};
use ward_transport::{
    ClientAuth, Peer, TlsError, client_config, incoming, serve_http, server_config,
};

use crate::api;
use crate::ask::{self, Checked, Events, Failure, Network, internal};
use crate::catalogue::{Catalogue, CatalogueError};
use crate::config::{Config, RequesterConfig};
use crate::node::Node;
use crate::offers::Offers;
use crate::permit::permit_check;
use crate::store::{Store, StoreError};

/// A coordinator, ready to be served. Clones are the same coordinator.
#[derive(Clone, Debug)]
pub struct Coordinator(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    tls: Arc<ServerConfig>,
    vocabulary: ContentHash,
    catalogue: Catalogue,
    access_bodies: KeyRing<String>,
    network: Network,
    offers: Offers,
    jobs: Mutex<JoinSet<()>>,
    /// One permit for each ask that may run at once.
    slots: Semaphore,
}

impl Coordinator {
    /// Reads certificates, vocabulary package and templates, and opens the database. Must run in a
    /// Tokio runtime.
    ///
    /// # Errors
    /// When a file that the configuration names can't be used.
    pub async fn open(config: Config) -> Result<Self, OpenError> {
        let tls = server_config(&config.tls, ClientAuth::Optional)?;
        let client = client_config(&config.tls.ca, Some(&config.tls))?;
        let (vocabulary, catalogue) = load_templates(&config)?;
        let nodes = config.nodes.iter().map(|node| {
            let dialled = Node::new(node, &config, client.clone());
            (node.name.clone(), dialled)
        });
        let network = Network {
            nodes: nodes.collect(),
            store: Store::open(&config.data).await?,
        };
        let bodies = config.access_bodies.iter();
        Ok(Self(Arc::new(Inner {
            slots: Semaphore::new(config.max_concurrent_asks.get().into()),
            access_bodies: KeyRing::new(bodies.map(|b| (b.key, b.name.clone()))),
            config,
            tls,
            vocabulary,
            catalogue,
            network,
            offers: Offers::default(),
            jobs: Mutex::default(),
        })))
    }

    /// Serves requesters, and offers templates to nodes, until `shutdown`. Asks under way then go
    /// on for `drain_seconds` at most.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) {
        let _offering = self.keep_offering();
        let (stop, stopped) = watch::channel(false);
        let mut stopped_too = stopped.clone();
        let connections = incoming(listener, Arc::clone(&self.0.tls));
        let serving = async {
            serve_http(connections, api::router(self.clone()), until(stopped)).await;
            self.jobs_done().await;
        };
        let overdue = async {
            shutdown.await;
            tracing::info!("stopping");
            stop.send_replace(true);
            let _ = stopped_too.wait_for(|stopped| *stopped).await;
            tokio::time::sleep(self.0.config.drain()).await;
        };
        tokio::select! {
            () = serving => {}
            () = overdue => tracing::warn!("stopped with asks under way"),
        }
        self.jobs().abort_all();
    }

    /// Offers all templates to all nodes once, and answers what became of it. [`Self::serve`] does
    /// so by itself.
    pub async fn offer_templates(&self) -> BTreeMap<NodeName, Result<(), Problem>> {
        let nodes = self.0.network.nodes.iter().map(async |(name, node)| {
            let offered = self.0.offers.offer_all(&self.0.catalogue, name, node);
            (name.clone(), offered.await)
        });
        join_all(nodes).await.into_iter().collect()
    }

    /// All templates.
    pub fn templates(&self) -> Vec<TemplateSummary> {
        let entries = self.0.catalogue.entries().iter();
        entries.map(|entry| entry.summary()).collect()
    }

    /// The newest version of a template, and where it stands at the nodes.
    pub fn template(&self, id: &Ident) -> Option<TemplateDetail> {
        let entry = self.0.catalogue.newest(id)?;
        let nodes = self.0.network.nodes.keys();
        Some(TemplateDetail {
            summary: entry.summary(),
            source: entry.source.clone(),
            nodes: self.0.offers.at_nodes(entry.template.hash(), nodes),
        })
    }

    /// Asks all nodes of the permit for quotes; nothing is charged.
    ///
    /// # Errors
    /// When the request is refused before it goes to nodes.
    pub async fn quote(
        &self,
        request: AskRequest,
        requester: Subject,
    ) -> Result<QuoteReply, Problem> {
        let checked = self.check(request, requester)?;
        ask::quote(&self.0.network, &checked).await
    }

    /// Opens a job for an ask. It waits while `max_concurrent_asks` are under way, goes on when nobody receives its events any more, and its last event
    /// is [`AskEvent::Done`] or [`AskEvent::Failed`].
    ///
    /// # Errors
    /// When the request is refused before it goes to nodes, or the job can't be stored.
    pub async fn ask(
        &self,
        request: AskRequest,
        requester: Subject,
    ) -> Result<mpsc::UnboundedReceiver<AskEvent>, Problem> {
        let checked = self.check(request, requester)?;
        let id = ReleaseId::random().map_err(internal)?;
        let store = self.store();
        let (permit, request) = (&checked.permit.id, &checked.request);
        let opened = store
            .open_job(id, &checked.requester, permit, request)
            .await;
        opened.map_err(internal)?;
        tracing::info!(release = %id, requester = %checked.requester, permit = %permit,
            template = %request.question.template.id, "opened a job");
        let (sender, events) = mpsc::unbounded_channel();
        let coordinator = self.clone();
        self.jobs().spawn(async move {
            coordinator.run_job(id, checked, Events(sender)).await;
        });
        Ok(events)
    }

    async fn run_job(&self, id: ReleaseId, checked: Checked, events: Events) {
        events.send(AskEvent::Accepted {
            release: id,
            nodes: checked.permit.nodes.iter().cloned().collect(),
        });
        // Never closed: this waits, and does not fail.
        let _slot = self.0.slots.acquire().await;
        let mut result = ask::ask(&self.0.network, &checked, id, &events).await;
        if let Ok(release) = &result
            && let Err(error) = self.store().release(release).await
        {
            result = Err(Failure {
                problem: internal(error),
                nodes: release.nodes.clone(),
            });
        }
        match result {
            Ok(release) => {
                tracing::info!(release = %id, "released");
                let release = Box::new(release);
                events.send(AskEvent::Done { release });
            }
            Err(Failure { problem, nodes }) => {
                tracing::warn!(release = %id, code = %problem.code, "no release");
                if let Err(error) = self.store().fail_job(id, &problem).await {
                    tracing::error!(%error, "the job can't be closed");
                }
                events.send(AskEvent::Failed { problem, nodes });
            }
        }
    }

    fn check(&self, request: AskRequest, requester: Subject) -> Result<Checked, Problem> {
        let entry = self.0.catalogue.find(&request.question.template)?;
        let template = &entry.template;
        let (permit, parameters) = permit_check(
            &self.0.access_bodies,
            &request,
            template.template(),
            &requester,
            Utc::now(),
        )?;
        Ok(Checked {
            permit,
            parameters,
            template: template.clone(),
            request,
            requester,
        })
    }

    fn keep_offering(&self) -> JoinSet<()> {
        let names = self.0.network.nodes.keys().cloned();
        names
            .map(|name| {
                let inner = Arc::clone(&self.0);
                async move {
                    let node = &inner.network.nodes[&name];
                    let interval = inner.config.offer_interval();
                    let offers = &inner.offers;
                    offers
                        .keep_offering(&inner.catalogue, &name, node, interval)
                        .await;
                }
            })
            .collect()
    }

    async fn jobs_done(&self) {
        let mut jobs = std::mem::take(&mut *self.jobs());
        while jobs.join_next().await.is_some() {}
    }

    /// The jobs under way.
    fn jobs(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        let mut jobs = self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        while jobs.try_join_next().is_some() {}
        jobs
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.network.store
    }

    pub(crate) fn requesters(&self) -> &[RequesterConfig] {
        &self.0.config.requesters
    }

    pub(crate) fn is_node(&self, peer: &Peer) -> bool {
        self.0.network.nodes.keys().any(|name| peer.is_node(name))
    }

    pub(crate) fn vocabulary(&self) -> (ContentHash, &Path) {
        (self.0.vocabulary, &self.0.config.vocabulary)
    }
}

async fn until(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

fn load_templates(config: &Config) -> Result<(ContentHash, Catalogue), OpenError> {
    let package = Package::open(&config.vocabulary);
    let package = package.map_err(|e| OpenError::Vocabulary(Box::new(e)))?;
    let dir = config.templates.as_deref();
    let catalogue = Catalogue::load(dir, package.hash(), &package)?;
    Ok((package.hash(), catalogue))
}

/// Why a coordinator can't start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its certificate, key or authority can't be used.
    #[error("tls: {0}")]
    Tls(#[from] TlsError),
    /// The vocabulary package can't be read.
    #[error("vocabulary: {0}; `ward-coordinator vocabulary pack DIR --out FILE` makes one")]
    Vocabulary(Box<PackageError>),
    /// The templates can't be read.
    #[error("templates: {0}")]
    Templates(#[from] CatalogueError),
    /// The database can't be used.
    #[error("data: {0}")]
    Store(#[from] StoreError),
}

#[cfg(test)]
mod tests;
