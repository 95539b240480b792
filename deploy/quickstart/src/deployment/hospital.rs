//! One hospital of a deployment: its node, data and steward.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedSender;
use ward_node::config::{AccessBody, Answers, Policy};
use ward_node::{Config, InitOptions, Initialised, NodeError, Steward};
use ward_schemas::canonical::ContentHash;
use ward_schemas::jws::VerifyingKey;
use ward_schemas::library;
use ward_schemas::names::NodeName;
use ward_schemas::template::TemplateRef;
use ward_synthetic::Mix;
use ward_transport::TlsFiles;

use super::files::{quoted, set_fields};
use super::progress::Step;
use super::{DeployError, Hospital, coordinator_url};
use crate::pki::Authority;

/// After how many generated patients progress is told.
const TELL_EVERY: u64 = 20;

/// Where a hospital's data comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Generated.
    Synthetic {
        /// Seed of all chance.
        seed: u64,
        /// How many patients.
        patients: u64,
        /// Whom it treats.
        mix: Mix,
    },
    /// A folder of OMOP tables, Parquet or CSV.
    Folder(PathBuf),
}

/// What all nodes of a deployment have in common.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) dir: PathBuf,
    pub(super) coordinator: NodeName,
    pub(super) access_body: AccessBody,
    pub(super) vocabulary: ContentHash,
    pub(super) package: PathBuf,
    pub(super) policy: Policy,
    pub(super) answers: Answers,
    pub(super) approve: bool,
}

/// A node that was made.
#[derive(Clone)]
pub(super) struct Made {
    pub(super) name: NodeName,
    pub(super) key: VerifyingKey,
    pub(super) config: PathBuf,
    pub(super) source: PathBuf,
    pub(super) tls: TlsFiles,
}

/// Makes a node as its hospital would: initialise, have the certificate signed, configure.
pub(super) async fn found(
    common: &Common,
    hospital: &Hospital,
    authority: &Authority,
) -> Result<Made, DeployError> {
    let dir = common.dir.join("nodes").join(hospital.name.as_str());
    let failed = |source| DeployError::node(&hospital.name, source);
    let options = InitOptions {
        listen: "127.0.0.1:0".to_owned(),
        coordinators: [common.coordinator.clone()].into(),
        access_bodies: vec![common.access_body.clone()],
        vocabulary: Some(common.vocabulary),
        coordinator_url: coordinator_url(None).parse().ok(),
        ..InitOptions::new(hospital.name.clone())
    };
    let made = ward_node::init(&dir, &options).await.map_err(failed)?;
    set_fields(&made.config, &limits(common))?;
    let config = Config::load(&made.config).map_err(|e| failed(e.into()))?;
    authority.sign(&made.certificate_request, &config.tls)?;
    Ok(made_of(common, hospital, &made, config.tls))
}

fn made_of(common: &Common, hospital: &Hospital, made: &Initialised, tls: TlsFiles) -> Made {
    let name = hospital.name.clone();
    Made {
        source: match &hospital.source {
            Source::Synthetic { .. } => common.dir.join("hospitals").join(name.as_str()),
            Source::Folder(folder) => folder.clone(),
        },
        name,
        key: made.key,
        config: made.config.clone(),
        tls,
    }
}

fn limits(common: &Common) -> [(&'static str, String); 9] {
    let Policy {
        yearly_rho,
        lifetime_rho,
        yearly_delta,
        lifetime_delta,
        max_rho_per_ask,
        min_rho_per_ask,
        max_clock_step_days,
    } = &common.policy;
    [
        ("yearly_rho", quoted(yearly_rho)),
        ("lifetime_rho", quoted(lifetime_rho)),
        ("yearly_delta", quoted(yearly_delta)),
        ("lifetime_delta", quoted(lifetime_delta)),
        ("max_rho_per_ask", quoted(max_rho_per_ask)),
        ("min_rho_per_ask", quoted(min_rho_per_ask)),
        ("max_clock_step_days", max_clock_step_days.to_string()),
        ("reply_tick_ms", common.answers.reply_tick_ms.to_string()),
        ("max_concurrent", common.answers.max_concurrent.to_string()),
    ]
}

/// Fills a node with data, and has its steward decide. Blocks; `runtime` runs the steward. Goes no
/// further when nobody listens any more.
pub(super) fn fill(
    common: &Common,
    hospital: &Hospital,
    made: &Made,
    runtime: &Handle,
    steps: &UnboundedSender<Step>,
) -> Result<(), DeployError> {
    generate(hospital, &made.source, steps)?;
    if steps.is_closed() {
        return Ok(());
    }
    let stewarding = steward(common, made, steps);
    let stewarded = runtime.block_on(stewarding);
    stewarded.map_err(|source| DeployError::node(&hospital.name, source))
}

async fn steward(
    common: &Common,
    made: &Made,
    steps: &UnboundedSender<Step>,
) -> Result<(), NodeError> {
    let steward = Steward::open(Config::load(&made.config)?).await?;
    let tables = Tables {
        node: made.name.clone(),
        steps: steps.clone(),
    };
    let report = steward.import_omop(&made.source, Arc::new(tables)).await?;
    let imported = Step::Imported {
        node: made.name.clone(),
        report: Box::new(report),
    };
    tell(steps, imported);
    let ready = Step::Ready {
        node: made.name.clone(),
        approved: decide(&steward, common).await?,
    };
    tell(steps, ready);
    Ok(())
}

async fn decide(steward: &Steward, common: &Common) -> Result<Vec<TemplateRef>, NodeError> {
    steward.add_vocabulary(&common.package).await?;
    for (_, text) in library::TEMPLATES {
        steward.offer((*text).to_owned()).await?;
    }
    match common.approve {
        true => steward.approve_all().await,
        false => Ok(Vec::new()),
    }
}

fn generate(
    hospital: &Hospital,
    folder: &Path,
    steps: &UnboundedSender<Step>,
) -> Result<(), DeployError> {
    let Source::Synthetic {
        seed,
        patients,
        mix,
    } = hospital.source
    else {
        return Ok(());
    };
    let generated = ward_synthetic::Hospital {
        name: hospital.name.to_string(),
        seed,
        patients,
        mix,
    };
    let progress = |done: u64| {
        if done.is_multiple_of(TELL_EVERY) || done == patients {
            let generating = Step::Generating {
                node: hospital.name.clone(),
                patients: done,
                of: patients,
            };
            tell(steps, generating);
        }
    };
    ward_synthetic::generate(folder, &generated, progress)?;
    Ok(())
}

/// Tells which table an import has come to.
struct Tables {
    node: NodeName,
    steps: UnboundedSender<Step>,
}

impl ward_data::Progress for Tables {
    fn table(&self, name: &str, _total_bytes: u64) {
        tell(
            &self.steps,
            Step::Importing {
                node: self.node.clone(),
                table: name.to_owned(),
            },
        );
    }

    fn advanced(&self, _bytes: u64) {}

    fn finished(&self) {}
}

/// Nobody listens any more when the making has failed elsewhere; then there is nobody to tell.
fn tell(steps: &UnboundedSender<Step>, step: Step) {
    let _ = steps.send(step);
}
