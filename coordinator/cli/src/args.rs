//! What can be typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use ward_schemas::cost::{USUAL_GROUP, Within};
use ward_schemas::ehds::Purpose;
use ward_schemas::jws::VerifyingKey;
use ward_schemas::names::Ident;
use ward_schemas::parameter::RawParameters;
use ward_schemas::release::ReleaseId;
use ward_schemas::rho::Rho;

use crate::permit::Draft;

/// Ask approved questions of the hospitals of a Ward network.
///
/// Answers are merged aggregates with calibrated noise. No patient record moves.
#[derive(Debug, Parser)]
#[command(name = "ward", version)]
pub struct Cli {
    /// When to colour; NO_COLOR is respected
    #[arg(long, global = true, value_enum, hide_short_help = true, default_value_t = Color::Auto)]
    pub color: Color,
    /// Which coordinator.
    #[command(flatten)]
    pub connection: Connection,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Which coordinator, and as whom. Each flag goes before the same field of the profile.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// Profile, a TOML file [default: $WARD_PROFILE, else ~/.config/ward/profile.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// The coordinator's https URL
    #[arg(long, global = true, hide_short_help = true, value_name = "URL")]
    pub url: Option<String>,
    /// PEM file of the authority that signed the coordinator's certificate
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// PEM file of your client certificate (or a bearer token in $WARD_TOKEN)
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        value_name = "FILE",
        requires = "tls_key"
    )]
    pub tls_certificate: Option<PathBuf>,
    /// PEM file of your client certificate's private key
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        value_name = "FILE",
        requires = "tls_certificate"
    )]
    pub tls_key: Option<PathBuf>,
    /// Connect to this address; the certificate must still be for the URL's host, and a port in the
    /// URL must be the same
    #[arg(long, global = true, hide_short_help = true, value_name = "IP:PORT")]
    pub resolve: Option<SocketAddr>,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Templates: the questions that can be asked
    #[command(subcommand)]
    Template(TemplateCommand),
    /// Say what an ask would cost and how precise it would be; free
    Quote(QuoteArgs),
    /// Ask a template's question
    Ask(AskArgs),
    /// Releases: answers that were merged before
    #[command(subcommand)]
    Release(ReleaseCommand),
    /// Permits: who may ask what, for which purpose, at what budget
    #[command(subcommand)]
    Permit(PermitCommand),
    /// Make an Ed25519 key, for signing permits or asks
    Keygen(KeygenArgs),
    /// Say who the coordinator takes you for
    Whoami,
}

/// `ward template`.
#[derive(Debug, Subcommand)]
pub enum TemplateCommand {
    /// List the templates
    List,
    /// Show one template: its parameters, and where it is approved
    Show {
        /// The template's name
        id: Ident,
        /// Print its TOML text and nothing else
        #[arg(long)]
        source: bool,
    },
}

/// What is asked, under which permit.
#[derive(Clone, Debug, Args)]
pub struct QuestionArgs {
    /// The template's name
    pub template: Ident,
    /// A parameter; may be given several times
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    pub parameters: Vec<(Ident, String)>,
    /// The permit's file
    #[arg(long, value_name = "FILE")]
    pub permit: PathBuf,
    /// What for [default: the permit's purpose]
    #[arg(long, value_parser = purpose_parser())]
    pub purpose: Option<Purpose>,
    /// Privacy loss at each node, such as 0.002 [default: the template's]
    #[arg(long)]
    pub rho: Option<Rho>,
    /// Your private key (PEM), where the permit binds one
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
}

/// `ward quote`.
#[derive(Clone, Debug, Args)]
pub struct QuoteArgs {
    /// What would be asked.
    #[command(flatten)]
    pub question: QuestionArgs,
    /// State the precision of means and ratios for groups of this size
    #[arg(long, value_name = "N", default_value_t = USUAL_GROUP)]
    pub group_size: u32,
    /// Find the rho at which this measure's 95 % interval is no wider than ± HALF_WIDTH, as in
    /// patients=20, and quote it; may be given several times
    #[arg(long, value_name = "MEASURE=HALF_WIDTH", value_parser = within, conflicts_with = "rho")]
    pub within: Vec<Within>,
}

/// `ward ask`.
#[derive(Clone, Debug, Args)]
pub struct AskArgs {
    /// What is asked.
    #[command(flatten)]
    pub question: QuestionArgs,
    /// How the answer is written.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// How an answer is written, and where to.
#[derive(Clone, Debug, Args)]
pub struct OutputArgs {
    /// How to write the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// The table to write, where csv or arrow meets an answer of several
    #[arg(long, value_name = "NAME")]
    pub table: Option<Ident>,
    /// Write to this file [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people, with bars; counts below zero are shown as 0
    Table,
    /// Raw values and half-widths
    Csv,
    /// The whole release with its provenance
    Json,
    /// Arrow IPC file (Feather), raw values and half-widths
    Arrow,
}

/// `ward release`.
#[derive(Debug, Subcommand)]
pub enum ReleaseCommand {
    /// List your releases
    List,
    /// Show one release; costs nothing
    Show {
        /// The release
        id: ReleaseId,
        /// How it is written.
        #[command(flatten)]
        output: OutputArgs,
    },
}

/// `ward permit`.
#[derive(Debug, Subcommand)]
pub enum PermitCommand {
    /// Sign a permit
    Issue(Box<IssueArgs>),
    /// Show what a permit says
    Inspect {
        /// The permit's file
        file: PathBuf,
        /// Check the signature against this public key (ed25519:…); may be given several times
        #[arg(long, value_name = "KEY")]
        trust: Vec<VerifyingKey>,
    },
}

/// `ward permit issue`.
#[derive(Clone, Debug, Args)]
pub struct IssueArgs {
    /// The access body's private key (PEM)
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Read fields from this TOML file; flags go before it
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// The permit's fields.
    #[command(flatten)]
    pub draft: Draft,
    /// Write the permit to this file [default: standard output]
    #[arg(long, visible_alias = "out", value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `ward keygen`.
#[derive(Clone, Debug, Args)]
pub struct KeygenArgs {
    /// Write the private key to this new file, readable by you alone
    #[arg(long, visible_alias = "output", value_name = "FILE")]
    pub out: PathBuf,
}

/// Reads `NAME=VALUE`.
///
/// # Errors
/// When there is no `=`, or the name is none.
pub fn parameter(text: &str) -> Result<(Ident, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("write it as NAME=VALUE, as in since=2020-01-01")?;
    let name = name
        .parse()
        .map_err(|e: ward_schemas::names::NameError| e.to_string())?;
    Ok((name, value.to_owned()))
}

/// Reads `MEASURE=HALF_WIDTH`.
///
/// # Errors
/// When there is no `=`, the measure is no name, or the half-width no number above zero.
pub fn within(text: &str) -> Result<Within, String> {
    let (column, half_width) = text
        .split_once('=')
        .ok_or("write it as MEASURE=HALF_WIDTH, as in patients=20")?;
    let column = column
        .parse()
        .map_err(|e: ward_schemas::names::NameError| e.to_string())?;
    let half_width = half_width.parse().ok();
    let half_width = half_width.filter(|h: &f64| h.is_finite() && *h > 0.0);
    Ok(Within {
        column,
        half_width: half_width.ok_or("the half-width is a number above zero, as in 20 or 0.5")?,
    })
}

/// Makes a map of parameters.
///
/// # Errors
/// When one is given twice: its name.
pub fn parameters(given: &[(Ident, String)]) -> Result<RawParameters, Ident> {
    let mut map = RawParameters::new();
    for (name, value) in given {
        if map.insert(name.clone(), value.clone()).is_some() {
            return Err(name.clone());
        }
    }
    Ok(map)
}

/// Every purpose by the name it travels under.
pub const PURPOSES: [(&str, Purpose); 6] = [
    ("public-health", Purpose::PublicHealth),
    ("policy-making", Purpose::PolicyMaking),
    ("official-statistics", Purpose::OfficialStatistics),
    ("education", Purpose::Education),
    ("scientific-research", Purpose::ScientificResearch),
    ("care-improvement", Purpose::CareImprovement),
];

/// The name a purpose travels under.
pub fn purpose_name(purpose: Purpose) -> &'static str {
    let named = PURPOSES.iter().find(|(_, p)| *p == purpose);
    named.map_or("unknown", |(name, _)| name)
}

pub(crate) fn purpose_parser() -> impl TypedValueParser<Value = Purpose> {
    PossibleValuesParser::new(PURPOSES.map(|(name, _)| name)).try_map(|text| {
        let named = PURPOSES.iter().find(|(name, _)| *name == text);
        named.map(|(_, purpose)| *purpose).ok_or("unknown purpose")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn purposes_have_the_names_they_travel_under() {
        for (name, purpose) in PURPOSES {
            let json = serde_json::to_value(purpose).expect("json");
            assert_eq!(json, name);
        }
    }

    #[test]
    fn parameters_keep_everything_after_the_first_equals_sign() {
        assert_eq!(
            parameter("code=a=b").map(|(n, v)| (n.to_string(), v)),
            Ok(("code".into(), "a=b".into()))
        );
        assert!(parameter("since").is_err_and(|e| e.contains("NAME=VALUE")));
        assert!(parameter("Since=1").is_err_and(|e| e.contains("snake_case")));
    }

    #[test]
    fn a_parameter_given_twice_is_named() {
        let twice = [parameter("a=1"), parameter("a=2")].map(|p| p.expect("parameter"));
        assert_eq!(parameters(&twice).expect_err("twice").as_str(), "a");
    }

    #[test]
    fn a_full_ask_parses() {
        let line = "ward ask by_age --param since=2020-01-01 --param sex=8507 --permit p.jws \
                    --purpose scientific-research --rho 0.002 --format csv --output a.csv";
        let cli = Cli::try_parse_from(line.split_whitespace()).expect("parsed");
        let Command::Ask(ask) = cli.command else {
            panic!("not an ask: {:?}", cli.command);
        };
        assert_eq!(ask.question.parameters.len(), 2);
        assert_eq!(ask.question.purpose, Some(Purpose::ScientificResearch));
        assert_eq!(ask.output.format, Format::Csv);
    }

    #[test]
    fn bad_values_say_what_would_be_accepted() {
        let refuse = |line: &str| {
            let parsed = Cli::try_parse_from(line.split_whitespace());
            parsed.expect_err(line).to_string()
        };
        assert!(refuse("ward ask t --permit p --purpose fun").contains("scientific-research"));
        assert!(refuse("ward ask t --permit p --rho=-1").contains("rho"));
        assert!(refuse("ward ask Big --permit p").contains("snake_case"));
        assert!(refuse("ward quote t --permit p --within patients").contains("patients=20"));
        assert!(refuse("ward quote t --permit p --within patients=0").contains("above zero"));
        assert!(refuse("ward quote t --permit p --within p=1 --rho 1").contains("--rho"));
        assert!(refuse("ward permit inspect p --trust abc").contains("ed25519:"));
    }
}
