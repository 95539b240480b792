//! `quickstart.json`: everything that is needed to go on.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Serialize;
use ward_quickstart::deployment::{ACCESS_BODY, COORDINATOR, Deployment};
use ward_schemas::canonical::ContentHash;
use ward_schemas::jws::VerifyingKey;
use ward_schemas::names::{NodeName, Subject};
use ward_schemas::parameter::RawParameters;
use ward_schemas::release::{Release, ReleaseId};
use ward_schemas::template::TemplateRef;

use crate::network::Network;
use crate::questions::Chosen;
use crate::screen::Screen;

/// What there is, where, and what can be done with it.
#[derive(Serialize)]
pub(crate) struct Record {
    /// Version of this file's form.
    v: u32,
    directory: PathBuf,
    /// Whether the directory stays when the quickstart has stopped.
    directory_stays: bool,
    ca: PathBuf,
    coordinator: Coordinator,
    nodes: Vec<Node>,
    vocabulary: Vocabulary,
    access_body: AccessBody,
    requester: Requester,
    templates: Vec<TemplateRef>,
    answers: Vec<Answer>,
    commands: Vec<CommandLine>,
}

#[derive(Serialize)]
struct Coordinator {
    name: &'static str,
    url: String,
    config: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

#[derive(Serialize)]
struct Node {
    name: NodeName,
    url: String,
    address: SocketAddr,
    config: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    /// The folder that its data came from.
    source: Option<PathBuf>,
}

#[derive(Serialize)]
struct Vocabulary {
    hash: ContentHash,
    package: PathBuf,
}

#[derive(Serialize)]
struct AccessBody {
    name: &'static str,
    key: PathBuf,
    public_key: VerifyingKey,
}

#[derive(Serialize)]
struct Requester {
    subject: Subject,
    profile: PathBuf,
    permit: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

/// A question that was answered.
#[derive(Serialize)]
pub(crate) struct Answer {
    question: &'static str,
    template: TemplateRef,
    parameters: RawParameters,
    release: ReleaseId,
    /// What `ward ask` takes to ask it again.
    #[serde(skip)]
    arguments: String,
}

#[derive(Serialize)]
struct CommandLine {
    purpose: &'static str,
    line: String,
    /// Whether it is shown, or left to the file.
    #[serde(skip)]
    shown: bool,
}

impl Answer {
    pub(crate) fn new(question: &Chosen, release: &Release) -> Self {
        Self {
            question: question.words,
            template: release.template.clone(),
            parameters: release.parameters.clone(),
            release: release.id,
            arguments: question.arguments(),
        }
    }
}

impl Record {
    /// The record of a network that runs.
    pub(crate) fn of(
        deployment: &Deployment,
        network: &Network,
        directory_stays: bool,
        answers: Vec<Answer>,
    ) -> Self {
        let tls = deployment.identity(COORDINATOR);
        let coordinator = Coordinator {
            name: COORDINATOR,
            url: format!("https://{}", network.coordinator),
            config: deployment.coordinator_config(),
            certificate: tls.certificate,
            key: tls.key,
        };
        let nodes = network.nodes.iter();
        Self {
            v: 1,
            directory: deployment.dir().to_owned(),
            directory_stays,
            ca: deployment.ca(),
            nodes: nodes
                .map(|(name, at)| node(deployment, name, *at))
                .collect(),
            vocabulary: Vocabulary {
                hash: deployment.vocabulary(),
                package: deployment.vocabulary_package(),
            },
            access_body: AccessBody {
                name: ACCESS_BODY,
                key: deployment.access_body_key_file(),
                public_key: deployment.access_body_key().verifying_key(),
            },
            requester: requester(deployment),
            templates: deployment.templates().iter().cloned().collect(),
            commands: commands(deployment, &coordinator, &answers),
            coordinator,
            answers,
        }
    }

    /// Shows what can be done next.
    pub(crate) fn show_next(&self, screen: &Screen) {
        screen.heading("What next");
        for command in self.commands.iter().filter(|c| c.shown) {
            screen.command(command.purpose, &command.line);
        }
    }
}

fn node(deployment: &Deployment, name: &NodeName, address: SocketAddr) -> Node {
    let tls = deployment.identity(name.as_str());
    Node {
        name: name.clone(),
        url: format!("grpc+tls://{address}"),
        address,
        config: deployment.node_config(name),
        certificate: tls.certificate,
        key: tls.key,
        source: deployment.source(name).map(Path::to_owned),
    }
}

fn requester(deployment: &Deployment) -> Requester {
    let tls = deployment.identity("requester");
    Requester {
        subject: deployment.requester(),
        profile: deployment.profile(),
        permit: deployment.permit_file(),
        certificate: tls.certificate,
        key: tls.key,
    }
}

fn commands(
    deployment: &Deployment,
    coordinator: &Coordinator,
    answers: &[Answer],
) -> Vec<CommandLine> {
    let profile = quoted(&deployment.profile());
    let permit = quoted(&deployment.permit_file());
    let ward = format!("{} --profile {profile}", program("ward-cli", "ward"));
    let last = answers.last();
    let again = last.map_or("", |answer| answer.arguments.as_str());
    let trust = deployment.access_body_key().verifying_key();
    let mut lines = vec![
        shown(
            "the templates, and what each costs",
            format!("{ward} template list"),
        ),
        shown(
            "a question that was answered: the same answer, at no further cost",
            format!("{ward} ask {again} --permit {permit}"),
        ),
        shown(
            "what another one would cost, which is free; then ask it: `ask` in place of `quote`",
            format!("{ward} quote length_of_stay_by_visit_type --permit {permit}"),
        ),
        shown(
            "the permit, checked against the access body's key",
            format!("{ward} permit inspect {permit} --trust {trust}"),
        ),
    ];
    if let (Some(node), Some(answer)) = (deployment.nodes().first(), last) {
        lines.extend(node_commands(deployment, node, &answer.template));
    }
    lines.push(hidden(
        "the coordinator's REST interface",
        curl(deployment, &coordinator.url),
    ));
    lines.push(hidden(
        "the coordinator alone, after the quickstart, if the directory stays",
        format!(
            "{} serve --config {}",
            program("ward-coordinator", "ward-coordinator"),
            quoted(&coordinator.config)
        ),
    ));
    lines
}

fn node_commands(
    deployment: &Deployment,
    name: &NodeName,
    answered: &TemplateRef,
) -> Vec<CommandLine> {
    let config = quoted(&deployment.node_config(name));
    let node = format!("{} --config {config}", program("ward-node", "ward-node"));
    vec![
        shown("a hospital's privacy budget", format!("{node} budget")),
        shown("its audit log, verified", format!("{node} audit verify")),
        shown(
            "its steward takes an approval back: ask as above, and the hospital is left out",
            format!("{node} template withdraw {}", answered.id),
        ),
        hidden("its audit log", format!("{node} audit list")),
        hidden(
            "the node alone, after the quickstart, if the directory stays",
            format!("{node} serve"),
        ),
    ]
}

fn curl(deployment: &Deployment, url: &str) -> String {
    let tls = deployment.identity("requester");
    format!(
        "curl --cacert {} --cert {} --key {} {url}/v1/templates",
        quoted(&tls.ca),
        quoted(&tls.certificate),
        quoted(&tls.key)
    )
}

fn shown(purpose: &'static str, line: String) -> CommandLine {
    CommandLine {
        purpose,
        line,
        shown: true,
    }
}

fn hidden(purpose: &'static str, line: String) -> CommandLine {
    CommandLine {
        shown: false,
        ..shown(purpose, line)
    }
}

/// How to run a program of the workspace: the one beside this one, else through cargo if that ran
/// this one, else by its name.
fn program(package: &str, name: &str) -> String {
    let beside = env::current_exe().ok();
    let beside = beside.and_then(|this| Some(this.parent()?.join(name)));
    if let Some(beside) = beside.filter(|file| file.is_file()) {
        return quoted(&beside);
    }
    match env::var_os("CARGO_MANIFEST_DIR") {
        None => name.to_owned(),
        Some(manifest) => {
            let manifest = Path::new(&manifest).join("Cargo.toml");
            let workspace = manifest
                .ancestors()
                .nth(4)
                .map(|root| root.join("Cargo.toml"));
            let manifest = workspace.filter(|file| file.is_file()).unwrap_or(manifest);
            format!(
                "cargo run -q --manifest-path {} -p {package} --",
                quoted(&manifest)
            )
        }
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@".contains(c);
    match text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_survive_a_shell() {
        assert_eq!(quoted(Path::new("/tmp/a-b.c")), "/tmp/a-b.c");
        assert_eq!(quoted(Path::new("/it's mine")), r"'/it'\''s mine'");
    }
}
