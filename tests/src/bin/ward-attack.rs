//! Tries on a running node what an attacker can who holds a permit: `ward-attack --help`.
//!
//! It spends one ask of the permit's budget, and exits with 1 when the node doesn't hold.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use ward_schemas::ask::{ASK_FORMAT, Ask, Question};
use ward_schemas::jws::{VerifyingKey, read_unverified};
use ward_schemas::names::{Ident, NodeName};
use ward_schemas::parameter::RawParameters;
use ward_schemas::permit::Permit;
use ward_tests::attack::node::{Outcome, attack};
use ward_tests::flight::NodeClient;
use ward_transport::TlsFiles;

/// Attack a node with one approved question. Spends that ask, once.
#[derive(Debug, Parser)]
#[command(name = "ward-attack")]
struct Arguments {
    /// The node's URL, https://HOST:PORT
    #[arg(long)]
    url: String,
    /// The node's name
    #[arg(long)]
    node: NodeName,
    /// The key that signs its partials, ed25519:…
    #[arg(long)]
    node_key: VerifyingKey,
    /// PEM file of the network's authority
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// PEM file of a coordinator's certificate
    #[arg(long, value_name = "FILE")]
    tls_certificate: PathBuf,
    /// PEM file of its private key
    #[arg(long, value_name = "FILE")]
    tls_key: PathBuf,
    /// File of a permit, as the access body signed it
    #[arg(long, value_name = "FILE")]
    permit: PathBuf,
    /// Which of its templates to ask
    #[arg(long)]
    template: Ident,
    /// Parameters
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(Ident, String)>,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    ward_transport::install_crypto_provider();
    let arguments = Arguments::parse();
    let ask = arguments.ask()?;
    let outcomes = attack(&arguments.client()?, &ask).await;
    let outcomes = outcomes.map_err(|refused| refused.message)?;
    outcomes.iter().for_each(print);
    let held = outcomes.iter().all(|outcome| outcome.held.is_ok());
    Ok(if held {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print(outcome: &Outcome) {
    match &outcome.held {
        Ok(tried) => println!("held    {:10} {tried}", outcome.attack),
        Err(found) => println!("BROKEN  {:10} {found}", outcome.attack),
    }
}

impl Arguments {
    fn client(&self) -> Result<NodeClient, Box<dyn std::error::Error>> {
        let identity = TlsFiles {
            certificate: self.tls_certificate.clone(),
            key: self.tls_key.clone(),
            ca: self.ca.clone(),
        };
        ward_transport::client_config(&self.ca, Some(&identity))?;
        let address = self
            .url
            .trim_start_matches("https://")
            .trim_end_matches('/');
        Ok(NodeClient::new(
            address,
            &self.node,
            self.node_key,
            &self.ca,
            Some(&identity),
        ))
    }

    /// The question, asked by the first person whom the permit names, for its purpose.
    fn ask(&self) -> Result<Ask, Box<dyn std::error::Error>> {
        let token = std::fs::read_to_string(&self.permit)?.trim().to_owned();
        let permit: Permit = read_unverified(&token)?;
        let template = permit.template(&self.template).cloned();
        let parameters: RawParameters = self.parameters.iter().cloned().collect();
        Ok(Ask {
            v: ASK_FORMAT,
            question: Question {
                template: template.ok_or("the permit does not name this template")?,
                parameters,
                rho: None,
                purpose: permit.purpose,
            },
            requester: permit
                .persons
                .into_iter()
                .next()
                .ok_or("the permit names nobody")?,
            permit: token,
            signature: None,
            witness: None,
        })
    }
}

fn parameter(text: &str) -> Result<(Ident, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    let name = name.parse().map_err(|e| format!("{name}: {e}"))?;
    Ok((name, value.to_owned()))
}
