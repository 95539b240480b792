//! What each command does.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, SubsecRound as _, Utc};
use ward_schemas::ask::{Question, SignedQuestion};
use ward_schemas::cost::{self, Assumed, CostError};
use ward_schemas::jws::{JwsError, MessageKind, VerifyingKey};
use ward_schemas::names::Ident;
use ward_schemas::release::Release;
use ward_schemas::rho::Rho;
use ward_schemas::template::TemplateRef;
use ward_schemas::wire::{AskRequest, QuoteReply, WIRE_FORMAT};

use crate::args::{
    self, AskArgs, Cli, Command, Connection, Format, IssueArgs, OutputArgs, PermitCommand,
    QuestionArgs, QuoteArgs, ReleaseCommand, TemplateCommand,
};
use crate::client::{Client, ClientError};
use crate::export::{self, ExportError};
use crate::keys::{self, KeyFileError};
use crate::permit::{Draft, PermitFile, PermitFileError, Signature};
use crate::profile::{Profile, ProfileError};
use crate::progress::Progress;
use crate::render;

/// Where a command writes.
pub struct Screen<'a> {
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Its width in characters.
    pub width: usize,
    /// Whether it shows colour.
    pub color: bool,
    /// Whether it is a terminal.
    pub out_is_terminal: bool,
    /// Whether standard error, where progress is shown, is a terminal.
    pub err_is_terminal: bool,
}

/// Runs a command.
///
/// # Errors
/// Whatever keeps it from its answer, with the remedy.
pub async fn run(cli: Cli, screen: &mut Screen<'_>) -> Result<(), CommandError> {
    let connection = &cli.connection;
    match cli.command {
        Command::Template(TemplateCommand::List) => {
            let templates = connect(connection)?.templates().await?;
            screen.print(&render::templates(&templates, screen.width, screen.color))
        }
        Command::Template(TemplateCommand::Show { id, source }) => {
            let detail = connect(connection)?.template(&id).await?;
            screen.print(&if source {
                render::source(&detail)
            } else {
                render::template(&detail, screen.width, screen.color)
            })
        }
        Command::Quote(args) => quote(connection, &args, screen).await,
        Command::Ask(args) => ask(connection, &args, screen).await,
        Command::Release(ReleaseCommand::List) => {
            let releases = connect(connection)?.releases().await?;
            screen.print(&render::releases(&releases, screen.color))
        }
        Command::Release(ReleaseCommand::Show { id, output }) => {
            let release = connect(connection)?.release(id).await?;
            write_release(&release, &output, screen)
        }
        Command::Permit(PermitCommand::Issue(args)) => issue(connection, *args, screen).await,
        Command::Permit(PermitCommand::Inspect { file, trust }) => inspect(&file, &trust, screen),
        Command::Keygen(args) => {
            let public = keys::generate(&args.out)?;
            screen.print(&format!("{public}\n"))
        }
        Command::Whoami => {
            let me = connect(connection)?.whoami().await?;
            screen.print(&format!("{}\n", me.subject))
        }
    }
}

fn connect(connection: &Connection) -> Result<Client, CommandError> {
    let profile = Profile::load(connection, |name| std::env::var_os(name))?;
    Ok(Client::new(&profile)?)
}

async fn quote(
    connection: &Connection,
    args: &QuoteArgs,
    screen: &mut Screen<'_>,
) -> Result<(), CommandError> {
    let client = connect(connection)?;
    let mut question = args.question.clone();
    let mut reply = client.quote(&request(&client, &question).await?).await?;
    if let Some((rho, assumed)) = price(&reply, args)? {
        screen.print(&render::price(&args.within, rho, assumed, screen.width))?;
        question.rho = Some(rho);
        reply = client.quote(&request(&client, &question).await?).await?;
    }
    screen.print(&render::quote(
        &reply,
        args.group_size,
        screen.width,
        screen.color,
    ))
}

/// The ρ at which every wanted precision is reached; none where no precision is wanted, or no node
/// has given a plan.
fn price(reply: &QuoteReply, args: &QuoteArgs) -> Result<Option<(Rho, Assumed)>, CostError> {
    let Some(quote) = reply.nodes.iter().find_map(|n| n.quote.as_ref().ok()) else {
        return Ok(None);
    };
    let assumed = render::assumed(reply, args.group_size);
    let prices = args
        .within
        .iter()
        .map(|within| cost::rho_for(&quote.plan, within, assumed));
    let prices: Vec<Rho> = prices.collect::<Result<_, _>>()?;
    Ok(prices.into_iter().max().map(|rho| (rho, assumed)))
}

async fn ask(
    connection: &Connection,
    args: &AskArgs,
    screen: &mut Screen<'_>,
) -> Result<(), CommandError> {
    check_output(&args.output, screen)?;
    let client = connect(connection)?;
    let request = request(&client, &args.question).await?;
    let mut progress = Progress::new(screen.err_is_terminal, io::stderr());
    let release = client.ask(&request, |event| progress.event(event)).await?;
    write_release(&release, &args.output, screen)
}

/// Puts an ask together: the permit says which content hash and which purpose it is for.
async fn request(client: &Client, args: &QuestionArgs) -> Result<AskRequest, CommandError> {
    let permit = PermitFile::read(&args.permit)?;
    let granted = permit.unverified.template(&args.template).cloned();
    let template = match granted {
        Some(template) => template,
        None => client.template(&args.template).await?.summary.template,
    };
    let question = Question {
        template,
        parameters: args::parameters(&args.parameters).map_err(CommandError::Twice)?,
        rho: args.rho,
        purpose: args.purpose.unwrap_or(permit.unverified.purpose),
    };
    let signature = match &args.key {
        Some(file) => Some(sign(file, &permit, question.clone())?),
        None => None,
    };
    Ok(AskRequest {
        v: WIRE_FORMAT,
        question,
        permit: permit.token,
        signature,
    })
}

fn sign(key: &Path, permit: &PermitFile, question: Question) -> Result<String, CommandError> {
    let signed = SignedQuestion {
        permit: permit.unverified.id.clone(),
        question,
    };
    Ok(keys::read(key)?.sign(MessageKind::Ask, &signed)?)
}

/// Refuses, before anything is spent, what could not be written afterwards.
fn check_output(output: &OutputArgs, screen: &Screen<'_>) -> Result<(), CommandError> {
    match &output.output {
        None if output.format == Format::Arrow && screen.out_is_terminal => {
            Err(CommandError::Binary)
        }
        None => Ok(()),
        Some(file) => try_file(file).map_err(|source| CommandError::Write {
            file: file.clone(),
            source,
        }),
    }
}

/// Whether the file can be written; it is left as it is.
fn try_file(file: &Path) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.append(true);
    if file.exists() {
        return options.open(file).map(drop);
    }
    options.create_new(true).open(file)?;
    fs::remove_file(file)
}

fn write_release(
    release: &Release,
    output: &OutputArgs,
    screen: &mut Screen<'_>,
) -> Result<(), CommandError> {
    check_output(output, screen)?;
    let table = || export::pick(release, output.table.as_ref());
    let to_file = output.output.is_some();
    let bytes = match output.format {
        Format::Table if to_file => render::table(release, 100, false).into_bytes(),
        Format::Table => render::table(release, screen.width, screen.color).into_bytes(),
        Format::Csv => export::csv(release, table()?)?,
        Format::Json => export::json(release)?,
        Format::Arrow => export::arrow(release, table()?)?,
    };
    match &output.output {
        Some(file) => write_file(file, &bytes),
        None => screen.write(&bytes),
    }
}

async fn issue(
    connection: &Connection,
    args: IssueArgs,
    screen: &mut Screen<'_>,
) -> Result<(), CommandError> {
    let base = match &args.from {
        Some(file) => Draft::read(file)?,
        None => Draft::default(),
    };
    let draft = args.draft.over(base);
    let key = keys::read(&args.key)?;
    let templates = find_templates(connection, &draft).await?;
    let file = PermitFile::sign(draft.complete(templates, now().trunc_subsecs(0))?, &key)?;
    let token = file.token.clone() + "\n";
    let Some(output) = &args.output else {
        return screen.print(&token);
    };
    write_file(output, token.as_bytes())?;
    let signature = file.signature(&[key.verifying_key()]);
    screen.print_permit(&file, &signature)
}

/// The templates of a draft; the coordinator is asked only where the draft leaves something open.
async fn find_templates(
    connection: &Connection,
    draft: &Draft,
) -> Result<BTreeSet<TemplateRef>, CommandError> {
    let mut templates = BTreeSet::new();
    let mut client = None;
    for choice in &draft.templates {
        let template = match (choice.exact(), &client) {
            (Some(template), _) => template,
            (None, Some(client)) => offered(client, &choice.id).await?,
            (None, None) => offered(client.insert(connect(connection)?), &choice.id).await?,
        };
        templates.insert(choice.accept(template)?);
    }
    Ok(templates)
}

async fn offered(client: &Client, id: &Ident) -> Result<TemplateRef, ClientError> {
    Ok(client.template(id).await?.summary.template)
}

fn inspect(
    file: &Path,
    trusted: &[VerifyingKey],
    screen: &mut Screen<'_>,
) -> Result<(), CommandError> {
    let permit = PermitFile::read(file)?;
    let signature = permit.signature(trusted);
    screen.print_permit(&permit, &signature)?;
    match signature {
        Signature::Bad(source) => Err(CommandError::NotTrusted {
            file: file.to_owned(),
            source,
        }),
        Signature::Good(_) | Signature::NotChecked => Ok(()),
    }
}

impl Screen<'_> {
    fn print(&mut self, text: &str) -> Result<(), CommandError> {
        self.write(text.as_bytes())
    }

    fn print_permit(
        &mut self,
        file: &PermitFile,
        signature: &Signature,
    ) -> Result<(), CommandError> {
        let text = render::permit(&file.unverified, signature, now(), self.width, self.color);
        self.print(&text)
    }

    /// Writes it all; a reader that has seen enough, such as `head`, is no error.
    fn write(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        match self.out.write_all(bytes).and_then(|()| self.out.flush()) {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(CommandError::Output(e)),
            _ => Ok(()),
        }
    }
}

fn write_file(file: &Path, bytes: &[u8]) -> Result<(), CommandError> {
    fs::write(file, bytes).map_err(|source| CommandError::Write {
        file: file.to_owned(),
        source,
    })
}

fn now() -> DateTime<Utc> {
    SystemTime::now().into()
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// No coordinator is named.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The coordinator gave no answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A key file.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// A permit.
    #[error(transparent)]
    Permit(#[from] PermitFileError),
    /// An answer can't be written in this format.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A message can't be signed.
    #[error("can't be signed: {0}")]
    Sign(#[from] JwsError),
    /// The signature is not by a trusted key.
    #[error("{}: {source}; don't use this permit, or give the right key with --trust", file.display())]
    NotTrusted {
        /// The permit's file.
        file: PathBuf,
        /// Why.
        source: JwsError,
    },
    /// A precision that has no price.
    #[error(transparent)]
    Cost(#[from] CostError),
    /// A parameter was given twice.
    #[error("the parameter {0} is given twice; give it once")]
    Twice(Ident),
    /// Bytes that no terminal shows.
    #[error("arrow is a binary format; write it to a file with --output FILE, or to a pipe")]
    Binary,
    /// A file can't be written.
    #[error("{} can't be written: {source}; name another file with --output", file.display())]
    Write {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Standard output can't be written.
    #[error("standard output can't be written: {0}; write to a file with --output")]
    Output(io::Error),
}
