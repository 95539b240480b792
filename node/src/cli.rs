//! The commands of `ward-node`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use url::Url;
use ward_node::approvals::InboxEntry;
use ward_node::audit::{format_head, parse_head};
use ward_node::config::{AccessBody, Config};
use ward_node::node::verifying_key;
use ward_node::steward::{Shown, Steward};
use ward_node::{InitOptions, Initialised, Node, NodeError, NodeOptions};
use ward_schemas::canonical::ContentHash;
use ward_schemas::jws::VerifyingKey;
use ward_schemas::names::NodeName;
use ward_schemas::template::TemplateRef;

use crate::progress::Bar;

/// A node of Ward: the service beside one hospital's data, and its steward's commands.
#[derive(Debug, Parser)]
#[command(name = "ward-node", version)]
pub(crate) struct Arguments {
    /// The node's configuration.
    #[arg(long, global = true, default_value = "ward-node.toml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a node: directory, commented configuration, keys, certificate request.
    Init(Box<InitArguments>),
    /// Import a hospital's data as a new snapshot.
    #[command(subcommand)]
    Import(Import),
    /// The network's vocabulary package.
    #[command(subcommand)]
    Vocabulary(Vocabulary),
    /// Templates on offer, and the decisions on them.
    #[command(subcommand)]
    Template(Template),
    /// What was spent of the privacy budget, and what is left.
    Budget,
    /// The audit log.
    #[command(subcommand)]
    Audit(Audit),
    /// The ledger's clock.
    #[command(subcommand)]
    Clock(Clock),
    /// How the node is.
    Status,
    /// Serve coordinators until interrupted.
    Serve,
}

#[derive(Debug, Args)]
struct InitArguments {
    /// The directory to make.
    dir: PathBuf,
    /// The node's name: the DNS name in its certificate.
    #[arg(long)]
    name: NodeName,
    /// Where to listen, HOST:PORT.
    #[arg(long, default_value = "0.0.0.0:7411")]
    listen: String,
    /// A coordinator that may ask, by the name in its certificate. Repeatable.
    #[arg(long = "coordinator", value_name = "NAME")]
    coordinators: Vec<NodeName>,
    /// An access body whose permits hold here. Repeatable.
    #[arg(long = "access-body", value_name = "NAME=KEY", value_parser = access_body)]
    access_bodies: Vec<AccessBody>,
    /// The network's vocabulary package.
    #[arg(long, value_name = "HASH")]
    vocabulary: Option<ContentHash>,
    /// The coordinator's HTTP service.
    #[arg(long, value_name = "URL")]
    coordinator_url: Option<Url>,
    /// Address to use in place of what DNS says of the coordinator.
    #[arg(long, value_name = "ADDRESS:PORT")]
    coordinator_resolve: Option<SocketAddr>,
}

#[derive(Debug, Subcommand)]
enum Import {
    /// A folder of OMOP CDM 5.3 or 5.4 tables, Parquet or CSV.
    Omop {
        /// The folder.
        dir: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum Vocabulary {
    /// Add the package from a file.
    Add {
        /// The file.
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum Template {
    /// List the inbox.
    List,
    /// Show a template's text and what it would compute.
    Show(Selector),
    /// Let it be asked.
    Approve(Selector),
    /// Don't let it be asked.
    Reject(Selector),
    /// Take an approval back, at once.
    Withdraw(Selector),
}

#[derive(Debug, Args)]
struct Selector {
    /// ID, ID@VERSION, or at least six digits of its hash.
    template: String,
}

#[derive(Debug, Subcommand)]
enum Audit {
    /// Print every record, one JSON object a line.
    List,
    /// Check the hash chain.
    Verify {
        /// A head that a witness has kept.
        #[arg(long, value_name = "SEQ:HASH")]
        head: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum Clock {
    /// Say that the clock is right after a step longer than `policy.max_clock_step_days`.
    Confirm,
}

/// Does what the command line says.
pub(crate) async fn run(arguments: Arguments) -> Result<(), NodeError> {
    if let Command::Init(init) = arguments.command {
        return make(*init).await;
    }
    let config = Config::load(&arguments.config)?;
    if let Command::Serve = arguments.command {
        return serve(config).await;
    }
    let steward = Steward::open(config).await?;
    match arguments.command {
        Command::Init(_) | Command::Serve => Ok(()),
        Command::Import(Import::Omop { dir }) => import(&steward, dir).await,
        Command::Vocabulary(Vocabulary::Add { file }) => {
            let hash = steward.add_vocabulary(&file).await?;
            println!("Added the vocabulary package {hash}.");
            Ok(())
        }
        Command::Template(command) => template(&steward, command).await,
        Command::Budget => {
            println!("{}", steward.budget().await?);
            Ok(())
        }
        Command::Audit(command) => audit(&steward, command).await,
        Command::Clock(Clock::Confirm) => {
            println!(
                "The ledger goes on from {}.",
                steward.confirm_clock().await?
            );
            Ok(())
        }
        Command::Status => status(&steward).await,
    }
}

async fn make(arguments: InitArguments) -> Result<(), NodeError> {
    let options = InitOptions {
        name: arguments.name,
        listen: arguments.listen,
        coordinators: arguments.coordinators.into_iter().collect(),
        access_bodies: arguments.access_bodies,
        vocabulary: arguments.vocabulary,
        coordinator_url: arguments.coordinator_url,
        coordinator_resolve: arguments.coordinator_resolve,
    };
    let made = ward_node::init(&arguments.dir, &options).await?;
    print_next_steps(&options.name, &made);
    Ok(())
}

fn print_next_steps(name: &NodeName, made: &Initialised) {
    println!("Made the node {name}: {}", made.config.display());
    println!("Next:");
    println!(
        "  1. Have {} signed by the network's certification authority; put the certificate at {} and the authority's at {}.",
        made.certificate_request.display(),
        made.certificate.display(),
        made.ca.display()
    );
    println!("  2. Give the coordinator this node's key: {}", made.key);
    println!("  3. Fill in coordinators, access_bodies and vocabulary in the configuration.");
    println!("  4. ward-node import omop DIR, then ward-node serve.");
}

async fn serve(config: Config) -> Result<(), NodeError> {
    let node = Node::open(config, NodeOptions::default()).await?;
    let listener = node.listen().await?;
    let address = listener
        .local_addr()
        .map_err(|e| NodeError::Serve(e.to_string()))?;
    println!("listening on {address}");
    node.serve(listener, interrupted()).await
}

async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    // Without a handler there is nothing to wait for: the signal ends the process.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn import(steward: &Steward, dir: PathBuf) -> Result<(), NodeError> {
    let bar = Arc::new(Bar::new());
    let imported = steward.import_omop(&dir, Arc::clone(&bar) as Arc<_>).await;
    bar.done();
    println!("{}", imported?);
    Ok(())
}

async fn template(steward: &Steward, command: Template) -> Result<(), NodeError> {
    match command {
        Template::List => print_inbox(&steward.templates().await?),
        Template::Show(s) => print_template(&steward.show(&s.template).await?),
        Template::Approve(s) => decided("Approved", &steward.approve(&s.template).await?),
        Template::Reject(s) => decided("Rejected", &steward.reject(&s.template).await?),
        Template::Withdraw(s) => decided("Withdrew", &steward.withdraw(&s.template).await?),
    }
    Ok(())
}

fn decided(what: &str, template: &TemplateRef) {
    println!(
        "{what} {}@{} {}.",
        template.id, template.version, template.hash
    );
}

fn print_inbox(entries: &[InboxEntry]) {
    if entries.is_empty() {
        println!("No template was offered yet; the coordinator offers them when it runs.");
        return;
    }
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY);
    table.set_header([
        "template",
        "version",
        "decision",
        "hash",
        "offered",
        "decided by",
    ]);
    for entry in entries {
        table.add_row([
            entry.template.id.to_string(),
            entry.template.version.to_string(),
            entry.decision.as_str().to_owned(),
            entry.template.hash.short(),
            entry.offered_at.date_naive().to_string(),
            entry.decided_by.clone().unwrap_or_default(),
        ]);
    }
    println!("{table}");
}

fn print_template(shown: &Shown) {
    let Shown { entry, cost } = shown;
    println!("# {} ({})", entry.template.hash, entry.decision.as_str());
    println!("{}", entry.source.trim_end());
    match cost {
        Ok(cost) => println!("\n{cost}"),
        Err(problem) => println!("\nThe privacy engine refuses it: {problem}"),
    }
}

async fn audit(steward: &Steward, command: Audit) -> Result<(), NodeError> {
    match command {
        Audit::List => {
            steward
                .audit_records(|record| {
                    println!("{}", serde_json::to_string(&record).unwrap_or_default());
                })
                .await
        }
        Audit::Verify { head } => {
            let witness = head.as_deref().map(parse_head).transpose()?;
            match steward.audit_verify(witness).await? {
                Some(head) => println!("The audit log is whole. Head: {}", format_head(head)),
                None => println!("The audit log is empty."),
            }
            Ok(())
        }
    }
}

async fn status(steward: &Steward) -> Result<(), NodeError> {
    let status = steward.status().await?;
    let vocabulary = match (status.vocabulary, status.vocabulary_present) {
        (Some(hash), true) => hash.to_string(),
        (Some(hash), false) => format!("{hash}, not here yet"),
        (None, _) => "none configured".to_owned(),
    };
    let snapshot = status.snapshot.map(|id| id.to_string());
    println!("node        {}", status.node);
    println!("key         {}", verifying_key(steward.config())?);
    println!("snapshot    {}", snapshot.as_deref().unwrap_or("none"));
    println!("vocabulary  {vocabulary}");
    println!(
        "templates   {} approved, {} pending",
        status.approved, status.pending
    );
    println!("budget left {}", steward.budget().await?.left().rho);
    if let Some(head) = status.audit {
        println!("audit head  {}", format_head(head));
    }
    Ok(())
}

fn access_body(text: &str) -> Result<AccessBody, String> {
    let (name, key) = text
        .rsplit_once("=ed25519:")
        .ok_or("write NAME=ed25519:KEY")?;
    let key: VerifyingKey = format!("ed25519:{key}")
        .parse()
        .map_err(|e: ward_schemas::jws::KeySyntax| e.to_string())?;
    Ok(AccessBody {
        name: name.to_owned(),
        key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }

    #[test]
    fn access_bodies_are_written_name_and_key() {
        let key = ward_schemas::jws::SigningKey::generate()
            .expect("randomness")
            .verifying_key();
        let body = access_body(&format!("Body A={key}")).expect("an access body");
        assert_eq!((body.name.as_str(), body.key), ("Body A", key));
        assert!(access_body("Body A").is_err());
        assert!(access_body("Body A=ed25519:short").is_err());
    }
}
