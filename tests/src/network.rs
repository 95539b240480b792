//! A network: a deployment on disk, and its services as processes.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Days, SubsecRound as _, Utc};
use tempfile::TempDir;
use tokio::process::Command;
use ward_cli::client::Client;
use ward_cli::profile::Profile;
use ward_node::audit::Record;
use ward_node::budget::BudgetReport;
use ward_node::steward::Status;
use ward_node::{Config, Steward};
use ward_omop::vocabulary::Package;
use ward_quickstart::deployment::{
    ACCESS_BODY, Answers, COORDINATOR, Deployment, Hospital, Options, Policy, Silent,
};
use ward_schemas::ask::{ASK_FORMAT, Ask, Question};
use ward_schemas::delta::Delta;
use ward_schemas::ehds::Purpose;
use ward_schemas::jws::{MessageKind, SigningKey};
use ward_schemas::names::NodeName;
use ward_schemas::partial::AuditHead;
use ward_schemas::permit::{Holder, PERMIT_FORMAT, Permit};
use ward_schemas::rho::Rho;
use ward_schemas::template::{Template, TemplateRef};
use ward_schemas::wire::{AskRequest, WIRE_FORMAT};
use ward_synthetic::Mix;

use crate::flight::NodeClient;
use crate::process::Process;

pub use ward_quickstart::deployment::{Source, VocabularySource};

/// The programs under test. Cargo tells only an integration test where they are.
#[derive(Clone, Copy, Debug)]
pub struct Programs {
    /// `ward-node-under-test`.
    pub node: &'static str,
    /// `ward-coordinator-under-test`.
    pub coordinator: &'static str,
}

/// Parameters of a question: names and values.
pub type Given<'a> = &'a [(&'a str, &'a str)];

/// What to make a network of.
pub struct Plan {
    /// Names and data of the hospitals.
    pub hospitals: Vec<(&'static str, Source)>,
    /// The vocabulary.
    pub vocabulary: VocabularySource,
    /// Every steward's limit: for a year and for ever. An ask may cost all of it.
    pub budget: &'static str,
    /// Whether the starter templates are approved.
    pub approve: bool,
}

impl Plan {
    /// Generated hospitals of these sizes, with room for thousands of asks.
    pub fn generated(patients: &[u64]) -> Self {
        let names = ["hospital-a", "hospital-b", "hospital-c"];
        let hospitals = names.into_iter().zip(Mix::ALL).zip(patients);
        let hospitals = hospitals.map(|((name, mix), patients)| {
            let source = Source::Synthetic {
                seed: 20_270_326,
                patients: *patients,
                mix,
            };
            (name, source)
        });
        Self {
            hospitals: hospitals.collect(),
            vocabulary: VocabularySource::Synthetic,
            budget: "100",
            approve: true,
        }
    }

    /// Writes it all to disk.
    pub async fn make(self, programs: Programs) -> Network {
        ward_transport::install_crypto_provider();
        let dir = tempfile::tempdir().expect("a directory");
        let hospitals = self.hospitals.into_iter().map(|(name, source)| Hospital {
            name: node(name),
            source,
        });
        let options = Options {
            vocabulary: self.vocabulary,
            policy: Policy {
                yearly_rho: rho(self.budget),
                lifetime_rho: rho(self.budget),
                max_rho_per_ask: rho(self.budget),
                ..Policy::default()
            },
            answers: Answers {
                reply_tick_ms: 50,
                max_concurrent: 2,
            },
            approve: self.approve,
            ..Options::new(dir.path().join("network"), hospitals.collect())
        };
        let made = Deployment::create(options, &Silent).await;
        Network {
            deployment: made.expect("a deployment"),
            programs,
            made_at: Utc::now().trunc_subsecs(0),
            dir,
        }
    }
}

/// A network on disk. Nothing runs before it is started.
pub struct Network {
    deployment: Deployment,
    programs: Programs,
    /// Of all permits: their date is part of an ask's identity.
    made_at: DateTime<Utc>,
    dir: TempDir,
}

impl Network {
    /// The deployment.
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// A directory that goes away with the network.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A node's configuration, as it stands.
    pub fn config(&self, name: &str) -> Config {
        Config::load(&self.deployment.node_config(&node(name))).expect("a configuration")
    }

    /// Starts a node; its client is the coordinator's.
    pub async fn start(&self, name: &str, hooks: &[(&str, &str)]) -> RunningNode {
        let mut command = Command::new(self.programs.node);
        command.envs(hooks.iter().copied());
        self.start_as(name, &self.deployment.node_config(&node(name)), command)
            .await
    }

    /// Starts a node by a command of the test's, to which the configuration is added.
    pub async fn start_as(&self, name: &str, config: &Path, mut command: Command) -> RunningNode {
        command.arg(config);
        let mut process = Process::start(command);
        let address = address(&process.line("listening on ").await);
        let name = node(name);
        let client = self.client(&name, address, &self.deployment.identity(COORDINATOR));
        RunningNode {
            name,
            address,
            client,
            process,
        }
    }

    /// The program of a node.
    pub fn node_program(&self) -> &'static str {
        self.programs.node
    }

    /// A client of a node with somebody's certificate.
    pub fn client(
        &self,
        name: &NodeName,
        address: SocketAddr,
        identity: &ward_transport::TlsFiles,
    ) -> NodeClient {
        let key = ward_node::node::verifying_key(&self.config(name.as_str())).expect("a key");
        let ca = self.deployment.ca();
        NodeClient::new(&address.to_string(), name, key, &ca, Some(identity))
    }

    /// Starts all nodes and the coordinator.
    pub async fn serve(&mut self, hooks: &[(&str, &str)]) -> Served {
        let mut nodes = Vec::new();
        for name in self.deployment.nodes().to_vec() {
            nodes.push(self.start(name.as_str(), hooks).await);
        }
        let coordinator = self.start_coordinator(&nodes).await;
        Served { nodes, coordinator }
    }

    /// Starts the coordinator of these nodes; the others can't be reached.
    pub async fn start_coordinator(&mut self, running: &[RunningNode]) -> RunningCoordinator {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut addresses: BTreeMap<_, _> = self
            .deployment
            .nodes()
            .iter()
            .map(|name| (name.clone(), nowhere))
            .collect();
        addresses.extend(running.iter().map(|n| (n.name.clone(), n.address)));
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        self.set_addresses(any, &addresses);
        let mut command = Command::new(self.programs.coordinator);
        command.env("RUST_LOG", "info");
        command.arg(self.deployment.coordinator_config());
        let mut process = Process::start(command);
        let address = address(&process.line("listening on ").await);
        self.set_addresses(address, &addresses);
        let profile = fs::read_to_string(self.deployment.profile()).expect("a profile");
        let base = self.deployment.profile();
        let profile = Profile::parse(&profile, base.parent().expect("a directory"));
        let client = Client::new(&profile.expect("a profile")).expect("a client");
        RunningCoordinator { client, process }
    }

    fn set_addresses(&mut self, coordinator: SocketAddr, nodes: &BTreeMap<NodeName, SocketAddr>) {
        self.deployment
            .set_addresses(coordinator, nodes)
            .expect("addresses written");
    }

    /// The starter template of this name.
    pub fn template(&self, id: &str) -> TemplateRef {
        let id = id.parse().expect("an identifier");
        self.deployment.template(&id).expect("a template").clone()
    }

    /// The identity of a template's text in this network.
    pub fn template_of(&self, source: &str) -> TemplateRef {
        let package = Package::open(&self.deployment.vocabulary_package()).expect("a package");
        let expanded = Template::parse(source)
            .and_then(|t| t.expand(package.hash(), &package))
            .expect("a template");
        expanded.reference()
    }

    /// A permit for everything, at all nodes, all of which must answer.
    pub fn permit(&self) -> Permit {
        let now = self.made_at;
        let nodes = self.deployment.nodes();
        Permit {
            v: PERMIT_FORMAT,
            id: "E2E-1".parse().expect("a permit's name"),
            version: 1,
            access_body: ACCESS_BODY.to_owned(),
            issued_at: now,
            valid_from: now - Days::new(1),
            valid_until: now + Days::new(30),
            holder: Holder {
                organisation: "University of Example".to_owned(),
                principal_investigator: "Ada Example".to_owned(),
                public_body: false,
            },
            persons: [self.deployment.requester()].into(),
            purpose: Purpose::ScientificResearch,
            templates: self.deployment.templates().clone(),
            nodes: nodes.iter().cloned().collect(),
            budget: rho("100"),
            budget_delta: Delta::ZERO,
            minimum_nodes: u32::try_from(nodes.len()).expect("a few"),
            requester_key: None,
        }
    }

    /// The permit as the access body signs it.
    pub fn sign(&self, permit: &Permit) -> String {
        sign(permit, self.deployment.access_body_key())
    }

    /// An ask under [`Network::permit`].
    pub fn ask(&self, template: &str, parameters: Given<'_>) -> Ask {
        self.ask_under(&self.permit(), template, parameters)
    }

    /// An ask under this permit, signed by the access body.
    pub fn ask_under(&self, permit: &Permit, template: &str, parameters: Given<'_>) -> Ask {
        Ask {
            v: ASK_FORMAT,
            question: self.question(template, parameters),
            requester: self.deployment.requester(),
            permit: self.sign(permit),
            signature: None,
            witness: None,
        }
    }

    /// A question.
    pub fn question(&self, template: &str, parameters: Given<'_>) -> Question {
        let named = parameters.iter().map(|(name, value)| {
            let name = name.parse().expect("an identifier");
            (name, (*value).to_owned())
        });
        Question {
            template: self.template(template),
            parameters: named.collect(),
            rho: None,
            purpose: Purpose::ScientificResearch,
        }
    }

    /// What a requester sends to the coordinator.
    pub fn request(&self, permit: &Permit, template: &str, parameters: Given<'_>) -> AskRequest {
        AskRequest {
            v: WIRE_FORMAT,
            question: self.question(template, parameters),
            permit: self.sign(permit),
            signature: None,
        }
    }

    /// A node's steward. The service may run beside it.
    pub async fn steward(&self, name: &str) -> Steward {
        Steward::open(self.config(name)).await.expect("a steward")
    }

    /// What a node's stores hold; its audit log is whole, and holds what the witness has seen.
    pub async fn books(&self, name: &str, witness: Option<AuditHead>) -> Books {
        let steward = self.steward(name).await;
        let head = steward.audit_verify(witness).await;
        head.expect("a whole audit log");
        let mut audit = Vec::new();
        let read = steward.audit_records(|record| audit.push(record)).await;
        read.expect("an audit log");
        let status = steward.status().await.expect("a status");
        Books {
            budget: steward.budget().await.expect("a budget"),
            status: Status {
                audit: None,
                ..status
            },
            inbox: steward.templates().await.expect("an inbox"),
            audit,
        }
    }
}

/// A running node.
pub struct RunningNode {
    /// Its name.
    pub name: NodeName,
    /// Where it listens.
    pub address: SocketAddr,
    /// The coordinator's client of it.
    pub client: NodeClient,
    /// The process.
    pub process: Process,
}

/// A running coordinator.
pub struct RunningCoordinator {
    /// The requester's client of it.
    pub client: Client,
    /// The process.
    pub process: Process,
}

/// A running network.
pub struct Served {
    /// All nodes.
    pub nodes: Vec<RunningNode>,
    /// The coordinator.
    pub coordinator: RunningCoordinator,
}

/// What a node's stores hold.
#[derive(Debug)]
pub struct Books {
    /// What was spent.
    pub budget: BudgetReport,
    /// Snapshot, vocabulary, templates; the audit head left out.
    pub status: Status,
    /// Templates and decisions.
    pub inbox: Vec<ward_node::approvals::InboxEntry>,
    /// The audit log.
    pub audit: Vec<Record>,
}

impl Books {
    /// Fails the test unless all stores are as they were before; the audit log may have grown.
    pub fn assert_as_before(&self, before: &Self) {
        assert_eq!(self.budget, before.budget);
        assert_eq!(self.status, before.status);
        assert_eq!(self.inbox, before.inbox);
        assert!(self.audit.starts_with(&before.audit));
    }

    /// How many asks were ever charged.
    pub fn charges(&self) -> u64 {
        self.budget.lifetime.asks
    }
}

/// A node's name.
pub fn node(name: &str) -> NodeName {
    name.parse().expect("a node's name")
}

/// A privacy loss.
pub fn rho(text: &str) -> Rho {
    text.parse().expect("a rho")
}

/// A permit signed by this key.
pub fn sign(permit: &Permit, key: &SigningKey) -> String {
    key.sign(MessageKind::Permit, permit).expect("a signature")
}

/// Folders of OMOP data that lie outside the project, for whoever has them: `WARD_TEST_OMOP=DIR`
/// holds one folder a hospital (`hospital…`), `WARD_TEST_VOCABULARY=DIR` the vocabulary's tables.
pub fn outside_data() -> (Vec<(&'static str, Source)>, VocabularySource) {
    let given = |name: &str| std::env::var_os(name).unwrap_or_else(|| panic!("set {name}=DIR"));
    let hospitals = given("WARD_TEST_OMOP");
    let vocabulary = given("WARD_TEST_VOCABULARY");
    let entries = fs::read_dir(hospitals).expect("a folder of folders");
    let mut folders: Vec<_> = entries.map(|e| e.expect("an entry").path()).collect();
    folders.retain(|folder| {
        let name = folder.file_name().and_then(|n| n.to_str());
        name.is_some_and(|n| n.starts_with("hospital")) && folder.is_dir()
    });
    folders.sort();
    let hospitals = folders.into_iter().map(|folder| {
        let name = folder.file_name().expect("a name").to_string_lossy();
        let name: &'static str = name.to_string().leak();
        (name, Source::Folder(folder))
    });
    (
        hospitals.collect(),
        VocabularySource::Folder(vocabulary.into()),
    )
}

fn address(text: &str) -> SocketAddr {
    text.trim_start_matches("https://")
        .parse()
        .expect("an address")
}
