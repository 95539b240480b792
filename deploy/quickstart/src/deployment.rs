//! A whole network on disk: everything is made, nothing is started.
//!
//! ```text
//! DIR/pki/                 the certification authority: ca.pem, ca.key.pem
//! DIR/vocabulary/          the public vocabulary's tables, where they are generated
//! DIR/hospitals/NAME/      a generated hospital's OMOP tables
//! DIR/nodes/NAME/          a node: ward-node.toml, keys, certificate, data
//! DIR/coordinator/         the coordinator: coordinator.toml, certificate, vocabulary.ward, data
//! DIR/access-body/key.pem  signs permits
//! DIR/requester/           profile.toml for `ward`, client certificate, permit.jws
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, Days, SubsecRound as _, Utc};
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use ward_cli::permit::{HolderDraft, Moment, PermitFile, PermitFileError};
use ward_coordinator::{NodeConfig, RequesterConfig, vocabulary};
use ward_node::NodeError;
use ward_node::config::AccessBody;
use ward_schemas::canonical::ContentHash;
use ward_schemas::ehds::Purpose;
use ward_schemas::jws::{JwsError, SigningKey};
use ward_schemas::library;
use ward_schemas::names::{Ident, NameError, NodeName, PermitId, Subject};
use ward_schemas::rho::Rho;
use ward_schemas::template::{Template, TemplateError, TemplateRef};
use ward_synthetic::SyntheticError;
use ward_transport::TlsFiles;

pub(crate) mod files;
mod hospital;
mod progress;

use self::files::{make_empty, quoted, read, set_fields, write, write_private};
use self::hospital::{Common, Made};
use crate::pki::Authority;

pub use self::hospital::Source;
pub use self::progress::{Progress, Silent, Step};
pub use ward_cli::permit::Draft as PermitTerms;
pub use ward_node::config::{Answers, Policy};

/// The coordinator's name, in its certificate and in the nodes' configurations.
pub const COORDINATOR: &str = "coordinator";
/// The access body, as permits and configurations name it.
pub const ACCESS_BODY: &str = "Health Data Access Body";
/// The requester, as certificate and permits name them.
pub const REQUESTER: &str = "ada@university.example";

/// What to make.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where: a directory that is empty, or not there yet.
    pub dir: PathBuf,
    /// The hospitals, at least one.
    pub hospitals: Vec<Hospital>,
    /// The network's vocabulary.
    pub vocabulary: VocabularySource,
    /// Every steward's limits.
    pub policy: Policy,
    /// How every node computes answers, and when they leave.
    pub answers: Answers,
    /// Whether stewards approve the starter templates; otherwise they stay on offer.
    pub approve: bool,
}

impl Options {
    /// Generated hospitals with the policy that nodes start with, templates approved.
    pub fn new(dir: impl Into<PathBuf>, hospitals: Vec<Hospital>) -> Self {
        Self {
            dir: dir.into(),
            hospitals,
            vocabulary: VocabularySource::Synthetic,
            policy: Policy::default(),
            answers: Answers::default(),
            approve: true,
        }
    }
}

/// A hospital to make.
#[derive(Clone, Debug)]
pub struct Hospital {
    /// Its node's name.
    pub name: NodeName,
    /// Its data.
    pub source: Source,
}

/// Where the network's vocabulary comes from.
#[derive(Clone, Debug)]
pub enum VocabularySource {
    /// That of generated hospitals.
    Synthetic,
    /// A folder of OMOP vocabulary tables, Parquet or CSV.
    Folder(PathBuf),
}

/// A network on disk.
pub struct Deployment {
    dir: PathBuf,
    nodes: Vec<Made>,
    names: Vec<NodeName>,
    requester: Subject,
    access_body_key: SigningKey,
    vocabulary: ContentHash,
    templates: BTreeSet<TemplateRef>,
    /// The coordinator's configuration without the network.
    coordinator_settings: String,
}

impl Deployment {
    /// Makes a deployment. Nothing listens anywhere until [`Deployment::set_addresses`] says where,
    /// and somebody starts it.
    ///
    /// # Errors
    /// When the directory is not empty, data can't be read, or a file can't be written.
    pub async fn create(options: Options, progress: &dyn Progress) -> Result<Self, DeployError> {
        check(&options)?;
        let dir = std::path::absolute(&options.dir)
            .map_err(|source| DeployError::file(&options.dir, source))?;
        make_empty(&dir)?;
        let authority = Authority::create(&dir.join("pki"))?;
        let (mut deployment, common) = found(dir, &options, &authority, progress)?;
        for hospital in &options.hospitals {
            let made = hospital::found(&common, hospital, &authority).await?;
            deployment.names.push(made.name.clone());
            deployment.nodes.push(made);
        }
        deployment.set(None, &BTreeMap::new())?;
        deployment.issue_permit(progress)?;
        deployment
            .fill(&common, options.hospitals, progress)
            .await?;
        Ok(deployment)
    }

    /// The deployment's directory, absolute.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The nodes, in the order of the options.
    pub fn nodes(&self) -> &[NodeName] {
        &self.names
    }

    /// A node's configuration.
    pub fn node_config(&self, node: &NodeName) -> PathBuf {
        let dir = self.dir.join("nodes").join(node.as_str());
        dir.join(ward_node::init::CONFIG_FILE)
    }

    /// The folder that a node's data was imported from, for one of [`Deployment::nodes`].
    pub fn source(&self, node: &NodeName) -> Option<&Path> {
        let made = self.nodes.iter().find(|made| made.name == *node)?;
        Some(&made.source)
    }

    /// The coordinator's configuration.
    pub fn coordinator_config(&self) -> PathBuf {
        self.dir.join("coordinator/coordinator.toml")
    }

    /// The network's vocabulary package.
    pub fn vocabulary_package(&self) -> PathBuf {
        self.dir.join("coordinator/vocabulary.ward")
    }

    /// The vocabulary package's hash.
    pub fn vocabulary(&self) -> ContentHash {
        self.vocabulary
    }

    /// The starter templates, as this network's vocabulary expands them.
    pub fn templates(&self) -> &BTreeSet<TemplateRef> {
        &self.templates
    }

    /// The starter template of this name.
    pub fn template(&self, id: &Ident) -> Option<&TemplateRef> {
        self.templates.iter().find(|template| template.id == *id)
    }

    /// Writes addresses into all configurations and the profile. Before, they are without meaning.
    ///
    /// # Errors
    /// When a node has no address, or a file can't be written.
    pub fn set_addresses(
        &mut self,
        coordinator: SocketAddr,
        nodes: &BTreeMap<NodeName, SocketAddr>,
    ) -> Result<(), DeployError> {
        match self.names.iter().find(|name| !nodes.contains_key(name)) {
            None => self.set(Some(coordinator), nodes),
            Some(lost) => Err(DeployError::NoAddress(lost.clone())),
        }
    }

    /// A permit, signed by the deployment's access body. What the terms leave open: all starter
    /// templates at all nodes, more than half of which must answer, for the requester and
    /// scientific research, over a year from now, with a budget of ρ 0.2 at each node.
    ///
    /// # Errors
    /// When the terms contradict each other or the Regulation.
    pub fn permit(&self, terms: PermitTerms) -> Result<String, DeployError> {
        Ok(self.draw_up(terms)?.token)
    }

    /// The PEM files of a node, of the [`COORDINATOR`] or, by any other name, of the requester.
    pub fn identity(&self, who: &str) -> TlsFiles {
        match self.nodes.iter().find(|made| made.name.as_str() == who) {
            Some(made) => made.tls.clone(),
            None if who == COORDINATOR => coordinator_tls(&self.dir),
            None => requester_tls(&self.dir),
        }
    }

    /// The certification authority's certificate, PEM.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("pki/ca.pem")
    }

    /// The key that signs permits.
    pub fn access_body_key(&self) -> &SigningKey {
        &self.access_body_key
    }

    /// The file of the key that signs permits.
    pub fn access_body_key_file(&self) -> PathBuf {
        self.dir.join("access-body/key.pem")
    }

    /// Who asks.
    pub fn requester(&self) -> Subject {
        self.requester.clone()
    }

    /// The requester's profile for `ward`.
    pub fn profile(&self) -> PathBuf {
        self.dir.join("requester/profile.toml")
    }

    /// The requester's permit.
    pub fn permit_file(&self) -> PathBuf {
        self.dir.join("requester/permit.jws")
    }

    fn issue_permit(&self, progress: &dyn Progress) -> Result<(), DeployError> {
        let permit = self.draw_up(PermitTerms::default())?;
        write(&self.permit_file(), &(permit.token + "\n"))?;
        progress.step(&Step::PermitIssued {
            permit: Box::new(permit.unverified),
        });
        Ok(())
    }

    fn draw_up(&self, terms: PermitTerms) -> Result<PermitFile, DeployError> {
        let now = DateTime::<Utc>::from(SystemTime::now()).trunc_subsecs(0);
        let draft = terms.over(self.usual_terms(now)?);
        let templates = draft.templates.iter().map(|choice| {
            let offered = self.template(&choice.id).cloned();
            match choice.exact().or(offered) {
                Some(template) => Ok(template),
                None => Err(DeployError::NoTemplate(choice.id.clone())),
            }
        });
        let templates = templates.collect::<Result<_, _>>()?;
        let permit = draft.complete(templates, now)?;
        Ok(PermitFile::sign(permit, &self.access_body_key)?)
    }

    fn usual_terms(&self, now: DateTime<Utc>) -> Result<PermitTerms, DeployError> {
        let templates = self.templates.iter().map(|template| {
            let parsed = template.id.as_str().parse();
            parsed.map_err(|_| DeployError::NoTemplate(template.id.clone()))
        });
        let majority = u32::try_from(self.names.len() / 2 + 1).unwrap_or(u32::MAX);
        Ok(PermitTerms {
            id: Some("QUICKSTART-1".parse::<PermitId>()?),
            access_body: Some(ACCESS_BODY.to_owned()),
            valid_until: Some(Moment(now + Days::new(365))),
            holder: HolderDraft {
                organisation: Some("University of Example".to_owned()),
                principal_investigator: Some("Ada Example".to_owned()),
                public_body: false,
            },
            persons: vec![self.requester.clone()],
            purpose: Some(Purpose::ScientificResearch),
            templates: templates.collect::<Result<_, _>>()?,
            nodes: self.names.clone(),
            budget: Rho::from_units(200_000_000),
            minimum_nodes: Some(majority),
            ..PermitTerms::default()
        })
    }

    fn set(
        &self,
        coordinator: Option<SocketAddr>,
        nodes: &BTreeMap<NodeName, SocketAddr>,
    ) -> Result<(), DeployError> {
        let url = coordinator_url(coordinator);
        for made in &self.nodes {
            let address = nodes.get(&made.name).copied().unwrap_or(anywhere());
            let fields = [("listen", quoted(&address)), ("url", quoted(&url))];
            set_fields(&made.config, &fields)?;
        }
        write(&self.profile(), &profile(&url))?;
        write(
            &self.coordinator_config(),
            &(self.coordinator_settings.clone() + "\n" + &self.network(nodes)?),
        )?;
        let listen = quoted(&coordinator.unwrap_or(anywhere()));
        set_fields(&self.coordinator_config(), &[("listen", listen)])
    }

    /// The part of the coordinator's configuration that names nodes, access body and requester.
    fn network(&self, nodes: &BTreeMap<NodeName, SocketAddr>) -> Result<String, DeployError> {
        #[derive(Serialize)]
        struct Network {
            nodes: Vec<NodeConfig>,
            access_bodies: Vec<AccessBody>,
            requesters: Vec<RequesterConfig>,
        }
        let node = |made: &Made| {
            // Port 1: there is no such service, and a configuration takes no port 0.
            let address = nodes.get(&made.name).map(SocketAddr::to_string);
            let address = address.unwrap_or_else(|| "127.0.0.1:1".to_owned());
            Some(NodeConfig {
                name: made.name.clone(),
                address: address.parse().ok()?,
                key: made.key,
            })
        };
        let network = Network {
            nodes: self.nodes.iter().filter_map(node).collect(),
            access_bodies: vec![access_body(&self.access_body_key)],
            requesters: vec![RequesterConfig {
                subject: self.requester.clone(),
                token_sha256: None,
            }],
        };
        toml::to_string(&network).map_err(|e| DeployError::Toml(e.to_string()))
    }

    /// Generates, imports and decides, at all hospitals at once.
    async fn fill(
        &self,
        common: &Common,
        hospitals: Vec<Hospital>,
        progress: &dyn Progress,
    ) -> Result<(), DeployError> {
        let (steps, mut told) = mpsc::unbounded_channel();
        let mut filling = JoinSet::new();
        for (made, hospital) in self.nodes.iter().zip(hospitals) {
            let (common, made, steps) = (common.clone(), made.clone(), steps.clone());
            let runtime = Handle::current();
            filling.spawn_blocking(move || {
                hospital::fill(&common, &hospital, &made, &runtime, &steps)
            });
        }
        drop(steps);
        while let Some(step) = told.recv().await {
            progress.step(&step);
        }
        while let Some(filled) = filling.join_next().await {
            filled??;
        }
        Ok(())
    }
}

/// Makes what isn't at a hospital: coordinator, vocabulary, access body, requester.
fn found(
    dir: PathBuf,
    options: &Options,
    authority: &Authority,
    progress: &dyn Progress,
) -> Result<(Deployment, Common), DeployError> {
    let coordinator: NodeName = COORDINATOR.parse()?;
    let requester: Subject = REQUESTER.parse()?;
    let config = ward_coordinator::init(&dir.join("coordinator"))?;
    authority.service(&coordinator, &coordinator_tls(&dir))?;
    authority.person(&requester, &requester_tls(&dir))?;
    progress.step(&Step::Certified {
        ca: authority.certificate().to_owned(),
    });
    let package = dir.join("coordinator/vocabulary.ward");
    let vocabulary = pack(&dir, &options.vocabulary, &package)?;
    progress.step(&Step::VocabularyPacked { hash: vocabulary });
    let access_body_key = SigningKey::generate().map_err(|_| DeployError::Randomness)?;
    let pem = access_body_key
        .to_pem()
        .map_err(|_| DeployError::Randomness)?;
    write_private(&dir.join("access-body/key.pem"), &pem)?;
    let common = Common {
        dir: dir.clone(),
        coordinator,
        access_body: access_body(&access_body_key),
        vocabulary,
        package: package.clone(),
        policy: options.policy.clone(),
        answers: options.answers.clone(),
        approve: options.approve,
    };
    let deployment = Deployment {
        dir,
        nodes: Vec::new(),
        names: Vec::new(),
        requester,
        access_body_key,
        vocabulary,
        templates: starter_templates(&package)?,
        coordinator_settings: read(&config)?,
    };
    Ok((deployment, common))
}

fn check(options: &Options) -> Result<(), DeployError> {
    let mut names = BTreeSet::from([COORDINATOR]);
    let mut hospitals = options.hospitals.iter().map(|h| &h.name);
    match hospitals.find(|name| !names.insert(name.as_str())) {
        Some(twice) => Err(DeployError::NameTwice(twice.clone())),
        None if options.hospitals.is_empty() => Err(DeployError::NoHospital),
        None => Ok(()),
    }
}

fn pack(dir: &Path, source: &VocabularySource, package: &Path) -> Result<ContentHash, DeployError> {
    let folder = match source {
        VocabularySource::Folder(folder) => folder.clone(),
        VocabularySource::Synthetic => {
            let folder = dir.join("vocabulary");
            ward_synthetic::vocabulary(&folder)?;
            folder
        }
    };
    Ok(vocabulary::pack(&folder, package)?)
}

fn starter_templates(package: &Path) -> Result<BTreeSet<TemplateRef>, DeployError> {
    let package = vocabulary::Package::open(package)?;
    let expand = |(_, text): &(_, &str)| {
        let template = Template::parse(text)?;
        Ok(template.expand(package.hash(), &package)?.reference())
    };
    library::TEMPLATES.iter().map(expand).collect()
}

fn access_body(key: &SigningKey) -> AccessBody {
    AccessBody {
        name: ACCESS_BODY.to_owned(),
        key: key.verifying_key(),
    }
}

/// As `ward-coordinator init` has it.
fn coordinator_tls(dir: &Path) -> TlsFiles {
    let dir = dir.join("coordinator/tls");
    TlsFiles {
        certificate: dir.join("coordinator.pem"),
        key: dir.join("coordinator.key"),
        ca: dir.join("ca.pem"),
    }
}

fn requester_tls(dir: &Path) -> TlsFiles {
    let dir = dir.join("requester");
    TlsFiles {
        certificate: dir.join("requester.pem"),
        key: dir.join("requester.key.pem"),
        ca: dir.join("ca.pem"),
    }
}

fn profile(url: &str) -> String {
    format!(
        "# The requester's profile: `ward --profile FILE …`. Relative paths start at this file.\n\
         url = {}\nca = \"ca.pem\"\ncertificate = \"requester.pem\"\nkey = \"requester.key.pem\"\n",
        quoted(&url)
    )
}

/// The coordinator's URL; its certificate is good for the loopback address.
fn coordinator_url(address: Option<SocketAddr>) -> String {
    format!("https://{}", address.unwrap_or(anywhere()))
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Why there is no deployment.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// A file can't be read or written.
    #[error("{} can't be read or written: {source}; check the path, its owner and free space", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something is there already.
    #[error("{} is not empty, and nothing is overwritten; give another directory", .0.display())]
    NotEmpty(PathBuf),
    /// No data at all.
    #[error("there is no hospital; give at least one")]
    NoHospital,
    /// Two services of one name.
    #[error("{0} is there twice, or is the coordinator's name; give every hospital its own")]
    NameTwice(NodeName),
    /// An address is missing.
    #[error("the node {0} has no address; give one for each node")]
    NoAddress(NodeName),
    /// A permit for something that isn't there.
    #[error("there is no starter template {0}; name it with version and hash: ID@VERSION@sha256:…")]
    NoTemplate(Ident),
    /// A name can't be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No keys can be made.
    #[error("the operating system gives no randomness; try again")]
    Randomness,
    /// A certificate can't be made.
    #[error("a certificate can't be made: {0}; check names and addresses")]
    Certificate(#[from] rcgen::Error),
    /// A hospital can't be generated.
    #[error(transparent)]
    Synthetic(#[from] SyntheticError),
    /// The vocabulary can't be packed.
    #[error("the vocabulary: {0}")]
    Pack(#[from] vocabulary::PackError),
    /// The vocabulary package can't be read.
    #[error("the vocabulary package: {0}")]
    Package(#[from] vocabulary::PackageError),
    /// A starter template can't be expanded.
    #[error("a starter template: {0}")]
    Template(#[from] TemplateError),
    /// The coordinator can't be made.
    #[error(transparent)]
    Coordinator(#[from] ward_coordinator::InitError),
    /// A node can't be made or filled.
    #[error("{node}: {source}")]
    Node {
        /// Which one.
        node: NodeName,
        /// Why.
        source: Box<NodeError>,
    },
    /// A configuration is not as it was written.
    #[error("{} does not set {field} in one line; make a new deployment", file.display())]
    Field {
        /// The configuration.
        file: PathBuf,
        /// The field.
        field: String,
    },
    /// A configuration can't be written as TOML.
    #[error("a configuration can't be written: {0}")]
    Toml(String),
    /// A permit can't be issued.
    #[error(transparent)]
    Permit(#[from] PermitFileError),
    /// A permit can't be signed.
    #[error("the permit can't be signed: {0}")]
    Sign(#[from] JwsError),
    /// A part of the work stopped.
    #[error("the work was not finished: {0}; try again")]
    Task(#[from] JoinError),
}

impl DeployError {
    pub(crate) fn file(file: &Path, source: io::Error) -> Self {
        Self::File {
            file: file.to_owned(),
            source,
        }
    }

    pub(crate) fn node(node: &NodeName, source: NodeError) -> Self {
        Self::Node {
            node: node.clone(),
            source: Box::new(source),
        }
    }
}

#[cfg(test)]
mod tests;
