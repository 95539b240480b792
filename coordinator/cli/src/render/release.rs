//! A release as a table with bars.

use ward_schemas::finish::Estimate;
use ward_schemas::release::{Cell, Release, ReleaseColumn, ReleaseTable, Threshold};

use super::text::{Column, Ink, Tone, bar, decimals, lay_out, number, printable, wrap};
use super::{assignments, left_out, privacy};

/// A bar narrower than this says nothing.
const MIN_BAR: usize = 6;
/// A bar wider than this says no more.
const MAX_BAR: usize = 40;

/// A release: its tables with a bar a row, who is in it, and its noise. Counts below zero are
/// shown as 0; nothing else is changed.
pub fn table(release: &Release, width: usize, color: bool) -> String {
    let ink = Ink(color);
    let template = &release.template;
    let mut out = ink.paint(Tone::Title, &printable(&release.title)) + "\n";
    let facts = format!(
        "{} {}  {}",
        template.id,
        template.version,
        assignments(&release.parameters)
    );
    out += &ink.paint(Tone::Quiet, wrap(&facts, width, "", "  ").trim_end());
    out += "\n";
    for table in &release.tables {
        out += "\n";
        if release.tables.len() > 1 {
            out += &ink.paint(Tone::Title, table.name.as_str());
            out += "\n";
        }
        out += &lay_out(&columns(table, width), ink);
    }
    out += "\n";
    out += &nodes(release, width, ink);
    out += &ink.paint(Tone::Quiet, notes(release, width).trim_end());
    out + "\n"
}

/// Keys, then how many nodes are in the row where that differs, then value and half-width of each
/// measure, then bars of the last measure.
fn columns(table: &ReleaseTable, width: usize) -> Vec<Column> {
    let (keys, others): (Vec<_>, Vec<_>) =
        table.columns.iter().enumerate().partition(|(_, c)| c.key);
    let (counts, measures): (Vec<_>, Vec<_>) = others.into_iter().partition(|(_, c)| c.nodes);
    let widest_key = (width / 3).max(8);
    let mut columns: Vec<_> = keys
        .into_iter()
        .map(|(at, column)| labels(table, at, column).at_most(widest_key))
        .collect();
    columns.extend(
        counts
            .into_iter()
            .map(|(at, column)| node_counts(table, at, column)),
    );
    for (at, column) in &measures {
        columns.extend(measure(table, *at, column));
    }
    if let Some((at, _)) = measures.last() {
        let used: usize = columns.iter().map(|c| c.width() + 2).sum();
        let room = width.saturating_sub(used).min(MAX_BAR);
        if room >= MIN_BAR {
            columns.push(bars(table, *at, room));
        }
    }
    columns
}

fn labels(table: &ReleaseTable, at: usize, column: &ReleaseColumn) -> Column {
    let label = |row: &Vec<Cell>| match row.get(at) {
        Some(Cell::Key(label)) => printable(label).replace(['\n', '\t'], " "),
        _ => String::new(),
    };
    Column::text(column.name.as_str(), table.rows.iter().map(label))
}

fn node_counts(table: &ReleaseTable, at: usize, column: &ReleaseColumn) -> Column {
    let count = |row: &Vec<Cell>| match row.get(at) {
        Some(Cell::Nodes(nodes)) => nodes.to_string(),
        _ => String::new(),
    };
    Column::numbers(column.name.as_str(), table.rows.iter().map(count))
}

/// Values and half-widths: whole for counts, else to two significant digits of the narrowest.
fn measure(table: &ReleaseTable, at: usize, column: &ReleaseColumn) -> [Column; 2] {
    let title = match column.unit.as_str() {
        "" => column.name.to_string(),
        unit => format!("{} [{}]", column.name, printable(unit)),
    };
    let narrowest = estimates(table, at).flatten().map(|e| e.half_width);
    let decimals = decimals(narrowest.fold(f64::INFINITY, f64::min));
    let (values, widths): (Vec<_>, Vec<_>) = estimates(table, at)
        .map(|estimate| match estimate {
            None => ("–".into(), String::new()),
            Some(e) if column.count => {
                (number(e.value.max(0.0), 0), number(e.half_width.ceil(), 0))
            }
            Some(e) => (number(e.value, decimals), number(e.half_width, decimals)),
        })
        .unzip();
    [
        Column::numbers(&title, values),
        Column::numbers("±", widths).tone(Tone::Quiet),
    ]
}

fn bars(table: &ReleaseTable, at: usize, room: usize) -> Column {
    let values = || estimates(table, at).map(|e| e.map_or(0.0, |e| e.value));
    // Totals would dwarf the cells that they add up.
    let cells = table.rows.len().saturating_sub(table.totals);
    let largest = values().take(cells).fold(0.0, f64::max);
    Column::text("", values().map(|value| bar(value / largest, room)))
        .tone(Tone::Bar)
        .at_most(room)
}

fn estimates(table: &ReleaseTable, at: usize) -> impl Iterator<Item = Option<Estimate>> {
    table.rows.iter().map(move |row| match row.get(at) {
        Some(Cell::Estimate(estimate)) => *estimate,
        _ => None,
    })
}

fn nodes(release: &Release, width: usize, ink: Ink) -> String {
    let answered = release.nodes.iter().filter(|n| n.outcome.answered());
    let answered: Vec<_> = answered.map(|n| n.node.as_str()).collect();
    let all = release.nodes.len();
    let count = match answered.len() {
        n if n == all => format!("All {all} nodes answered"),
        n => format!("{n} of {all} nodes answered"),
    };
    let line = format!("{count}: {}", answered.join(", "));
    wrap(&line, width, "", "  ") + &left_out(&release.nodes, width, ink)
}

fn notes(release: &Release, width: usize) -> String {
    let mut notes = vec![
        "± is half of the 95 % confidence interval: it covers the noise, not the limits on what one \
         patient may contribute."
            .to_owned(),
        format!("Noise at each node: {}.", noise(release)),
        format!("Privacy loss at each node: {}.", privacy(release.loss(), release.meaning)),
        format!("Release {}", release.id),
    ];
    if clipped(release) {
        notes[0] += " Counts below zero are shown as 0.";
    }
    if without_value(release) {
        notes[0] += " – stands where the noise drowns a denominator.";
    }
    let thresholds = release.tables.iter().filter_map(|t| t.threshold.as_ref());
    notes.splice(1..1, thresholds.map(threshold));
    let lines = notes.iter().map(|note| wrap(note, width, "", "  "));
    lines.collect()
}

fn threshold(threshold: &Threshold) -> String {
    format!(
        "A node shows a value of {} if its noisy count of patients is {} or more, and at most {} values: \
         other values are missing, and sums are over the nodes that show the value. What one \
         patient alone has is shown with a probability of at most {} at each node.",
        threshold.column, threshold.patients, threshold.most, threshold.delta
    )
}

fn noise(release: &Release) -> String {
    let several = release.tables.len() > 1;
    let components = release.tables.iter().flat_map(|table| {
        table.noise.iter().map(move |noise| {
            let name = printable(&noise.component);
            let name = if several {
                format!("{}.{name}", table.name)
            } else {
                name
            };
            let sigma = number(noise.sigma, decimals(noise.sigma));
            format!("{name} σ {sigma} (ρ {})", noise.rho)
        })
    });
    components.collect::<Vec<_>>().join(", ")
}

fn clipped(release: &Release) -> bool {
    release.tables.iter().any(|table| {
        let counts = table.columns.iter().enumerate().filter(|(_, c)| c.count);
        let mut values = counts.flat_map(|(at, _)| estimates(table, at).flatten());
        values.any(|e| e.value < 0.0)
    })
}

fn without_value(release: &Release) -> bool {
    let mut rows = release.tables.iter().flat_map(|t| t.rows.iter().flatten());
    rows.any(|cell| matches!(cell, Cell::Estimate(None)))
}
