//! Answers for people: pure functions from values to text.
//!
//! `width` is that of the terminal in characters; without `color` no escape sequence is written.
//! Texts that come from elsewhere are stripped of what could steer a terminal.

mod release;
mod text;

use chrono::{DateTime, Utc};
use ward_schemas::cost::{self, Assumed, MeasureCost, Precision, Within};
use ward_schemas::jws::VerifyingKey;
use ward_schemas::loss::{EpsilonDelta, Loss};
use ward_schemas::parameter::{Parameter, RawParameters};
use ward_schemas::permit::Permit;
use ward_schemas::problem::Problem;
use ward_schemas::release::{NodeOutcome, Outcome};
use ward_schemas::rho::Rho;
use ward_schemas::wire::{
    NodeQuote, Quote, QuoteReply, ReleaseSummary, TemplateAtNode, TemplateDetail, TemplateSummary,
};

use self::text::{Column, Ink, Tone, decimals, lay_out, number, printable, wrap};
use crate::args::purpose_name;
use crate::client::ClientError;
use crate::commands::CommandError;
use crate::permit::Signature;

pub use release::table;

/// The templates on offer, one below the other.
pub fn templates(templates: &[TemplateSummary], width: usize, color: bool) -> String {
    if templates.is_empty() {
        return "The coordinator offers no templates.\n".into();
    }
    let ink = Ink(color);
    let blocks = templates.iter().map(|t| {
        let names: Vec<_> = t.parameters.keys().map(|name| name.as_str()).collect();
        let facts = match names.len() {
            0 => t.loss.to_string(),
            _ => format!("{}; parameters: {}", t.loss, names.join(", ")),
        };
        let head = format!("{} {}", t.template.id, t.template.version);
        ink.paint(Tone::Title, &head)
            + "\n"
            + &wrap(&printable(&t.question), width, "  ", "  ")
            + &ink.paint(Tone::Quiet, wrap(&facts, width, "  ", "  ").trim_end())
            + "\n"
    });
    blocks.collect::<Vec<_>>().join("\n")
}

/// One template's TOML file as the coordinator gives it, safe for a terminal.
pub fn source(detail: &TemplateDetail) -> String {
    printable(&detail.source)
}

/// One template: what it asks, its parameters, and where it stands at each node.
pub fn template(detail: &TemplateDetail, width: usize, color: bool) -> String {
    let ink = Ink(color);
    let summary = &detail.summary;
    let reference = &summary.template;
    let mut out = ink.paint(Tone::Title, &printable(&summary.title)) + "\n";
    out += &format!(
        "{} {}\n{}\n\n",
        reference.id, reference.version, reference.hash
    );
    out += &wrap(&printable(&summary.question), width, "", "");
    out += &format!("\nPrivacy loss at each node: {}\n", summary.loss);
    if !summary.parameters.is_empty() {
        out += &ink.paint(Tone::Title, "\nParameters");
        out += "\n";
        for (name, parameter) in &summary.parameters {
            out += &wrap(
                &parameter_line(parameter),
                width,
                &format!("  {name}: "),
                "    ",
            );
        }
    }
    if !detail.nodes.is_empty() {
        out += &ink.paint(Tone::Title, "\nNodes");
        out += "\n";
        for node in &detail.nodes {
            out += &node_line(node, width);
        }
    }
    out
}

fn parameter_line(parameter: &Parameter) -> String {
    let (Parameter::Date { doc, .. }
    | Parameter::Integer { doc, .. }
    | Parameter::Number { doc, .. }
    | Parameter::Boolean { doc, .. }
    | Parameter::Concept { doc, .. }
    | Parameter::Text { doc, .. }) = parameter;
    let default = match parameter.default_value() {
        Some(value) => format!("; default {value}"),
        None => "; must be given".into(),
    };
    let doc = if doc.is_empty() {
        String::new()
    } else {
        format!(". {doc}")
    };
    printable(&format!("{}{default}{doc}", parameter.domain()))
}

fn node_line(node: &TemplateAtNode, width: usize) -> String {
    let first = format!("  {}: ", node.node);
    let text = match &node.decision {
        Ok(decision) => decision.as_str().to_owned(),
        Err(problem) => printable(&format!("{}, {problem}", problem.code)),
    };
    wrap(&text, width, &first, "    ")
}

/// What an ask would cost at each node, and the precision of its answer for groups of
/// `group_size`.
pub fn quote(reply: &QuoteReply, group_size: u32, width: usize, color: bool) -> String {
    let ink = Ink(color);
    let accepting: Vec<_> = reply
        .nodes
        .iter()
        .filter_map(|n| n.quote.as_ref().ok())
        .collect();
    let column =
        |title, cell: fn(&NodeQuote) -> String| Column::text(title, reply.nodes.iter().map(cell));
    let columns = [
        column("node", |n| n.node.to_string()),
        column("charge", charge),
        column("left of the permit", |n| match &n.quote {
            Ok(quote) => quote.permit_left.to_string(),
            Err(_) => String::new(),
        }),
    ];
    let mut out = lay_out(&columns, ink);
    for node in &reply.nodes {
        if let Err(problem) = &node.quote {
            let text = format!(
                "{} would be left out: {}, {problem}",
                node.node, problem.code
            );
            out += &ink.paint(
                Tone::Warning,
                wrap(&printable(&text), width, "", "  ").trim_end(),
            );
            out += "\n";
        }
    }
    if let Some(quote) = accepting.first() {
        out += "\n";
        out += &precision(quote, assumed(reply, group_size), ink);
        out += "\n";
        let privacy = privacy(quote.loss, Some(quote.meaning));
        out += &meaning(&privacy, width);
    }
    out
}

/// The nodes that accept, and groups of this size.
pub fn assumed(reply: &QuoteReply, group_size: u32) -> Assumed {
    Assumed {
        group: group_size,
        ..reply.assumed
    }
}

fn charge(node: &NodeQuote) -> String {
    match &node.quote {
        Ok(quote) if quote.charge == Loss::ZERO => "0 (answered before)".into(),
        Ok(quote) => quote.charge.to_string(),
        Err(_) => "refused".into(),
    }
}

fn precision(quote: &Quote, assumed: Assumed, ink: Ink) -> String {
    let costs = cost::measures(&quote.plan, quote.loss.rho, assumed);
    let columns = [
        Column::text("table", costs.iter().map(|c| c.table.to_string())),
        Column::text("measure", costs.iter().map(|c| c.column.to_string())),
        Column::numbers("noise σ", costs.iter().map(sigma)),
        Column::text("95 % interval", costs.iter().map(|c| interval(c, assumed))),
    ];
    let mut out = format!("Expected precision with {}", node_count(assumed.nodes));
    if costs.iter().any(|c| !c.count) {
        out += &format!(" (of means and ratios: for groups of {})", assumed.group);
    }
    out + "\n" + &lay_out(&columns, ink)
}

fn node_count(nodes: u32) -> String {
    match nodes {
        1 => "1 node".into(),
        nodes => format!("{nodes} nodes"),
    }
}

fn sigma(cost: &MeasureCost) -> String {
    let shown = |p: Precision| number(p.sigma, decimals(p.sigma));
    cost.precision.map_or_else(String::new, shown)
}

fn interval(cost: &MeasureCost, assumed: Assumed) -> String {
    match cost.precision {
        Some(Precision { half_width, .. }) if cost.count => {
            format!("± {}", number(half_width.ceil(), 0))
        }
        Some(Precision { half_width, .. }) => {
            let half_width = number(half_width, decimals(half_width));
            printable(&format!("± {half_width} {}", cost.unit))
        }
        None => format!("none: noise drowns a group of {}", assumed.group),
    }
}

/// What a precision costs: the ρ that [`quote`] is then asked for.
pub fn price(within: &[Within], rho: Rho, assumed: Assumed, width: usize) -> String {
    let wanted = within
        .iter()
        .map(|w| format!("{} within ± {}", w.column, w.half_width));
    let text = format!(
        "{} at 95 % needs --rho {rho} at each of {} (for groups of {}).",
        wanted.collect::<Vec<_>>().join(" and "),
        node_count(assumed.nodes),
        assumed.group,
    );
    wrap(&text, width, "", "") + "\n"
}

fn meaning(privacy: &str, width: usize) -> String {
    let text = format!(
        "Privacy loss of the ask at each node: {privacy}. Losses add up over all asks to a node, \
         and a patient known to several nodes bears it at each."
    );
    wrap(&text, width, "", "")
}

/// A loss, and what it means by itself where a node has said so.
fn privacy(loss: Loss, meaning: Option<EpsilonDelta>) -> String {
    match meaning {
        None => loss.to_string(),
        Some(EpsilonDelta { epsilon, delta }) => {
            format!("{loss} (by itself ε ≤ {epsilon:.2} at δ {delta})")
        }
    }
}

/// The caller's releases.
pub fn releases(releases: &[ReleaseSummary], color: bool) -> String {
    if releases.is_empty() {
        return "You have no releases; ask something with: ward ask\n".into();
    }
    let column =
        |title, cell: fn(&ReleaseSummary) -> String| Column::text(title, releases.iter().map(cell));
    let columns = [
        column("release", |r| r.id.to_string()),
        column("merged", |r| minute(r.created_at)),
        column("template", |r| {
            format!("{} {}", r.template.id, r.template.version)
        }),
        column("permit", |r| r.permit.to_string()),
        column("parameters", |r| assignments(&r.parameters)),
    ];
    lay_out(&columns, Ink(color))
}

fn minute(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M UTC").to_string()
}

fn assignments(parameters: &RawParameters) -> String {
    let pairs = parameters
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    printable(&pairs.collect::<Vec<_>>().join(" "))
}

/// What a permit says, with what is known about its signature and its validity at `now`.
pub fn permit(
    permit: &Permit,
    signature: &Signature,
    now: DateTime<Utc>,
    width: usize,
    color: bool,
) -> String {
    let ink = Ink(color);
    let tone = match signature {
        Signature::Good(_) => Tone::Good,
        Signature::NotChecked => Tone::Warning,
        Signature::Bad(_) => Tone::Error,
    };
    let title = format!("Permit {}, version {}", permit.id, permit.version);
    let mut out = ink.paint(Tone::Title, &title) + "\n";
    let known = printable(&signature.to_string());
    out += &ink.paint(tone, wrap(&known, width, "", "").trim_end());
    out += "\n";
    if let Err(error) = permit.check() {
        let text = format!("NO NODE WILL ACCEPT IT: {error}");
        out += &ink.paint(Tone::Error, wrap(&text, width, "", "").trim_end());
        out += "\n";
    }
    out += "\n";
    for (name, lines) in permit_fields(permit, now) {
        for (at, line) in lines.iter().enumerate() {
            let name = if at == 0 { name } else { "" };
            out += &wrap(
                &printable(line),
                width,
                &format!("{name:<15}"),
                &" ".repeat(15),
            );
        }
    }
    out
}

fn permit_fields(permit: &Permit, now: DateTime<Utc>) -> Vec<(&'static str, Vec<String>)> {
    let holder = &permit.holder;
    let body = if holder.public_body {
        ", a public body"
    } else {
        ""
    };
    let templates = permit.templates.iter();
    let nodes: Vec<_> = permit.nodes.iter().map(|n| n.as_str()).collect();
    let key = |key: &VerifyingKey| format!("every ask must be signed by {key}");
    vec![
        ("access body", vec![permit.access_body.clone()]),
        ("issued", vec![minute(permit.issued_at)]),
        ("valid", vec![validity(permit, now)]),
        (
            "holder",
            vec![format!(
                "{}{body}; principal investigator {}",
                holder.organisation, holder.principal_investigator
            )],
        ),
        (
            "persons",
            permit.persons.iter().map(ToString::to_string).collect(),
        ),
        ("purpose", vec![purpose_name(permit.purpose).to_owned()]),
        (
            "templates",
            templates
                .map(|t| format!("{} {} {}", t.id, t.version, t.hash))
                .collect(),
        ),
        (
            "nodes",
            vec![format!(
                "{}; at least {} of {} must answer",
                nodes.join(", "),
                permit.minimum_nodes,
                nodes.len()
            )],
        ),
        ("budget", vec![format!("{} at each node", permit.loss())]),
        (
            "requester key",
            vec![
                permit
                    .requester_key
                    .as_ref()
                    .map_or("none bound".into(), key),
            ],
        ),
    ]
}

fn validity(permit: &Permit, now: DateTime<Utc>) -> String {
    let state = if now < permit.valid_from {
        "NOT YET VALID"
    } else if now >= permit.valid_until {
        "EXPIRED"
    } else {
        "valid now"
    };
    format!(
        "from {} until {} ({state})",
        minute(permit.valid_from),
        minute(permit.valid_until)
    )
}

/// An error of a command.
pub fn error(error: &CommandError, width: usize, color: bool) -> String {
    match error {
        CommandError::Client(ClientError::Problem(problem)) => self::problem(problem, width, color),
        CommandError::Client(ClientError::Failed { problem, nodes }) => {
            let left_out = left_out(nodes, width, Ink(color));
            self::problem(problem, width, color) + &left_out
        }
        other => {
            let label = Ink(color).paint(Tone::Error, "error:");
            format!("{label} {}\n", printable(&other.to_string()))
        }
    }
}

/// A typed error: code, detail, remedy.
pub fn problem(problem: &Problem, width: usize, color: bool) -> String {
    let title = format!("error: {} ({})", problem.code.title(), problem.code);
    Ink(color).paint(Tone::Error, &title)
        + "\n"
        + &wrap(
            &printable(&format!("{}.", problem.detail)),
            width,
            "  ",
            "  ",
        )
        + &wrap(&printable(&problem.remedy), width, "  → ", "    ")
}

/// The nodes that are not in an answer, each with its reason.
fn left_out(nodes: &[NodeOutcome], width: usize, ink: Ink) -> String {
    let mut out = String::new();
    for node in nodes {
        if let Outcome::LeftOut { problem } = &node.outcome {
            let first = format!("  {}: ", node.node);
            let reason = printable(&format!("{}, {problem}", problem.code));
            out += &wrap(&reason, width, &first, "    ");
        }
    }
    if out.is_empty() {
        return out;
    }
    ink.paint(Tone::Warning, "Left out") + "\n" + &out
}

#[cfg(test)]
pub(crate) mod tests;
