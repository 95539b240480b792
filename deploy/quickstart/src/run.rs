//! One run: make, start, ask, serve, stop.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tokio::sync::watch;
use ward_cli::client::{Client, ClientError};
use ward_cli::profile::{Profile, ProfileError};
use ward_cli::render;
use ward_node::{NodeError, Steward};
use ward_quickstart::deployment::{DeployError, Deployment, Options};
use ward_schemas::names::{Ident, NameError, NodeName};
use ward_schemas::partial::AuditHead;
use ward_schemas::rho::Rho;

use crate::args::Arguments;
use crate::network::Network;
use crate::questions::{self, Chosen};
use crate::record::{Answer, Record};
use crate::screen::{self, Making, Screen};

/// The file with everything that is needed to go on, in the working directory.
const RECORD: &str = "quickstart.json";

/// A wish to stop, and whether anybody waits for it.
pub(crate) struct Stop(watch::Sender<bool>);

impl Default for Stop {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Stop {
    /// Asks a run that serves to end; `false` if there is none, or if it was asked before.
    pub(crate) fn ask(&self) -> bool {
        self.0.receiver_count() > 0 && !self.0.send_replace(true)
    }

    async fn asked(&self) {
        let mut asked = self.0.subscribe();
        let _ = asked.wait_for(|asked| *asked).await;
    }
}

/// Runs a network in a directory.
///
/// # Errors
/// Whatever keeps it from an answer.
pub(crate) async fn run(arguments: &Arguments, dir: &Path, stop: &Stop) -> Result<(), RunError> {
    let screen = Screen::new();
    let hospitals = arguments.hospitals()?;
    screen.heading(&format!("A Ward network in {}", dir.display()));
    let options = Options {
        vocabulary: arguments.vocabulary(),
        ..Options::new(dir, hospitals)
    };
    let mut deployment = Deployment::create(options, &Making::new(&screen)).await?;
    let mut network = Network::start(&mut deployment).await?;
    screen.line(
        "coordinator",
        format!("serves https://{}", network.coordinator),
    );
    for (node, address) in &network.nodes {
        screen.line(node, format!("serves grpc+tls://{address}"));
    }
    let questions = questions::chosen(arguments.generated())?;
    let answers = ask(&questions, &deployment, &screen).await?;
    check_books(&deployment, &screen).await?;
    let record = Record::of(&deployment, &network, arguments.dir.is_some(), answers);
    write(Path::new(RECORD), &record)?;
    if arguments.once {
        screen::print(&format!("\n{RECORD} records all this.\n"));
        return network.stop().await;
    }
    record.show_next(&screen);
    screen::print(&format!(
        "{RECORD} has all this for programs. Serving until Ctrl-C.\n"
    ));
    tokio::select! {
        () = stop.asked() => {}
        error = network.failed() => return Err(error),
    }
    screen::print("\nStopping: what is under way ends first (Ctrl-C again to stop at once).\n");
    network.stop().await
}

async fn ask(
    questions: &[Chosen],
    deployment: &Deployment,
    screen: &Screen,
) -> Result<Vec<Answer>, RunError> {
    let file = deployment.profile();
    let profile = fs::read_to_string(&file).map_err(|e| RunError::file(&file, e))?;
    let base = file.parent().unwrap_or(Path::new("."));
    let client = Client::new(&Profile::parse(&profile, base)?)?;
    let file = deployment.permit_file();
    let permit = fs::read_to_string(&file).map_err(|e| RunError::file(&file, e))?;
    let mut answers = Vec::new();
    for (number, question) in (1..).zip(questions) {
        screen.heading(&format!("{number}. {}", question.words));
        let asked = question.ask(&client, deployment, permit.trim(), screen.spinners);
        let release = asked.await?;
        let table = render::table(&release, screen.width, screen.color);
        screen::print(&format!("\n{table}"));
        answers.push(Answer::new(question, &release));
    }
    Ok(answers)
}

/// What was spent and recorded at each node, with its audit log verified.
async fn check_books(deployment: &Deployment, screen: &Screen) -> Result<(), RunError> {
    screen.heading("What it cost, as each hospital's own books have it");
    let mut books = BTreeMap::new();
    for node in deployment.nodes() {
        let book = book(deployment, node).await;
        books.insert(node, book.map_err(|source| RunError::node(node, source))?);
    }
    for (node, (spent, of, head)) in books {
        let records = head.map_or(0, |head| head.sequence);
        let text = format!("ρ {spent} of {of} a year spent; {records} audit records, all verified");
        screen.line(node, text);
    }
    Ok(())
}

async fn book(
    deployment: &Deployment,
    node: &NodeName,
) -> Result<(Rho, Rho, Option<AuditHead>), NodeError> {
    let config = ward_node::Config::load(&deployment.node_config(node))?;
    let yearly = config.policy.yearly_rho;
    let steward = Steward::open(config).await?;
    let spent = steward.budget().await?.year.loss.rho;
    let head = steward.audit_verify(None).await?;
    Ok((spent, yearly, head))
}

fn write(file: &Path, record: &Record) -> Result<(), RunError> {
    let json = serde_json::to_string_pretty(record).map_err(io::Error::from);
    json.and_then(|json| fs::write(file, json + "\n"))
        .map_err(|e| RunError::file(file, e))
}

/// Why the quickstart failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Deploy(#[from] DeployError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("{} is not a folder; give folders of OMOP tables", .0.display())]
    NoFolder(PathBuf),
    #[error("the coordinator: {0}")]
    CoordinatorConfig(#[from] ward_coordinator::ConfigError),
    #[error("the coordinator: {0}")]
    Coordinator(#[from] ward_coordinator::OpenError),
    #[error("{node}: {source}")]
    Node {
        node: NodeName,
        source: Box<NodeError>,
    },
    #[error(transparent)]
    Profile(#[from] ProfileError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the template {0} does not ship; report it")]
    NoTemplate(Ident),
    #[error("{0} has stopped by itself; run again with RUST_LOG=info for its reasons")]
    Stopped(String),
    #[error("{} can't be read or written: {source}; run in a directory of yours", file.display())]
    File { file: PathBuf, source: io::Error },
    #[error("the operating system refuses: {0}; try again")]
    System(io::Error),
}

impl RunError {
    pub(crate) fn node(node: &NodeName, source: NodeError) -> Self {
        Self::Node {
            node: node.clone(),
            source: Box::new(source),
        }
    }

    fn file(file: &Path, source: io::Error) -> Self {
        Self::File {
            file: file.to_owned(),
            source,
        }
    }
}
