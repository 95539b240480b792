//! Five nodes and a coordinator in one process.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use ward_coordinator::Coordinator;
use ward_node::{Node, NodeOptions};
use ward_quickstart::deployment::Deployment;
use ward_schemas::names::NodeName;

use crate::run::RunError;

/// Services that run.
pub(crate) struct Network {
    /// Where the coordinator listens.
    pub(crate) coordinator: SocketAddr,
    /// Where the nodes listen.
    pub(crate) nodes: BTreeMap<NodeName, SocketAddr>,
    stop_coordinator: watch::Sender<bool>,
    stop_nodes: watch::Sender<bool>,
    serving: JoinHandle<()>,
    serving_nodes: JoinSet<Result<(), RunError>>,
}

impl Network {
    /// Binds free ports, writes them into the deployment, and starts its services on them.
    ///
    /// # Errors
    /// When a port can't be bound, or a service can't start.
    pub(crate) async fn start(deployment: &mut Deployment) -> Result<Self, RunError> {
        let (listener, coordinator) = bind().await?;
        let mut listeners = Vec::new();
        let mut nodes = BTreeMap::new();
        for name in deployment.nodes() {
            let (listener, address) = bind().await?;
            nodes.insert(name.clone(), address);
            listeners.push((name.clone(), listener));
        }
        deployment.set_addresses(coordinator, &nodes)?;
        let (stop_nodes, stopped) = watch::channel(false);
        let mut serving_nodes = JoinSet::new();
        for (name, listener) in listeners {
            let node = open_node(deployment, &name).await?;
            let stopped = stopped.clone();
            serving_nodes.spawn(async move {
                let served = node.serve(listener, until(stopped)).await;
                served.map_err(|source| RunError::node(&name, source))
            });
        }
        let (stop_coordinator, stopped) = watch::channel(false);
        let config = ward_coordinator::Config::load(&deployment.coordinator_config())?;
        let service = Coordinator::open(config).await?;
        let serving = tokio::spawn(async move { service.serve(listener, until(stopped)).await });
        Ok(Self {
            coordinator,
            nodes,
            stop_coordinator,
            stop_nodes,
            serving,
            serving_nodes,
        })
    }

    /// Returns when a service has stopped by itself, with the reason.
    pub(crate) async fn failed(&mut self) -> RunError {
        tokio::select! {
            _ = &mut self.serving => RunError::Stopped("the coordinator".to_owned()),
            Some(served) = self.serving_nodes.join_next() => match served {
                Ok(Err(error)) => error,
                Ok(Ok(())) | Err(_) => RunError::Stopped("a node".to_owned()),
            }
        }
    }

    /// Lets every service finish what is under way: the coordinator first, which asks the nodes.
    ///
    /// # Errors
    /// When a node could not end in order.
    pub(crate) async fn stop(mut self) -> Result<(), RunError> {
        self.stop_coordinator.send_replace(true);
        let _ = self.serving.await;
        self.stop_nodes.send_replace(true);
        while let Some(served) = self.serving_nodes.join_next().await {
            served.map_err(|_| RunError::Stopped("a node".to_owned()))??;
        }
        Ok(())
    }
}

async fn open_node(deployment: &Deployment, name: &NodeName) -> Result<Node, RunError> {
    let failed = |source| RunError::node(name, source);
    let config = ward_node::Config::load(&deployment.node_config(name));
    let config = config.map_err(|e| failed(e.into()))?;
    Node::open(config, NodeOptions::default())
        .await
        .map_err(failed)
}

async fn bind() -> Result<(TcpListener, SocketAddr), RunError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await;
    let listener = listener.map_err(RunError::System)?;
    let address = listener.local_addr().map_err(RunError::System)?;
    Ok((listener, address))
}

async fn until(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
