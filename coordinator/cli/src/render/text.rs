//! Text in columns, with colour where it is wanted. All of it pure.

use console::{measure_text_width, truncate_str};

/// Colour, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ink(pub(crate) bool);

/// What a text is painted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Title,
    Quiet,
    Bar,
    Good,
    Warning,
    Error,
}

impl Ink {
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Title => "1",
            Tone::Quiet => "2",
            Tone::Bar => "36",
            Tone::Good => "32",
            Tone::Warning => "1;33",
            Tone::Error => "1;31",
        };
        if self.0 && !text.trim().is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A column of a table.
pub(crate) struct Column {
    pub(crate) title: String,
    pub(crate) right: bool,
    pub(crate) tone: Tone,
    pub(crate) cells: Vec<String>,
}

impl Column {
    /// Text, to the left.
    pub(crate) fn text(title: &str, cells: impl IntoIterator<Item = String>) -> Self {
        Self {
            title: title.to_owned(),
            right: false,
            tone: Tone::Plain,
            cells: cells.into_iter().collect(),
        }
    }

    /// Numbers, to the right.
    pub(crate) fn numbers(title: &str, cells: impl IntoIterator<Item = String>) -> Self {
        Self {
            right: true,
            ..Self::text(title, cells)
        }
    }

    pub(crate) fn tone(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }

    /// The same column, at most so wide.
    pub(crate) fn at_most(self, width: usize) -> Self {
        let cut = |text: String| truncate_str(&text, width, "…").into_owned();
        Self {
            title: cut(self.title),
            cells: self.cells.into_iter().map(cut).collect(),
            ..self
        }
    }

    pub(crate) fn width(&self) -> usize {
        let texts = self.cells.iter().chain([&self.title]);
        texts.map(|t| measure_text_width(t)).max().unwrap_or(0)
    }

    fn cell(&self, text: &str, tone: Tone, ink: Ink) -> String {
        let padding = " ".repeat(self.width() - measure_text_width(text));
        let text = ink.paint(tone, text);
        if self.right {
            format!("{padding}{text}")
        } else {
            format!("{text}{padding}")
        }
    }
}

/// The columns side by side, a header above them where any has a title.
pub(crate) fn lay_out(columns: &[Column], ink: Ink) -> String {
    let rows = columns.iter().map(|c| c.cells.len()).max().unwrap_or(0);
    let mut out = String::new();
    if columns.iter().any(|c| !c.title.is_empty()) {
        push_line(&mut out, columns, |c| c.cell(&c.title, Tone::Title, ink));
    }
    for row in 0..rows {
        push_line(&mut out, columns, |c| {
            let text = c.cells.get(row).map_or("", String::as_str);
            c.cell(text, c.tone, ink)
        });
    }
    out
}

fn push_line(out: &mut String, columns: &[Column], cell: impl Fn(&Column) -> String) {
    let cells: Vec<_> = columns.iter().map(cell).collect();
    out.push_str(cells.join("  ").trim_end());
    out.push('\n');
}

/// Words in lines of at most `width`, every line behind `indent` but the first behind `first`.
pub(crate) fn wrap(text: &str, width: usize, first: &str, indent: &str) -> String {
    let mut out = first.to_owned();
    let mut used = measure_text_width(first);
    let mut fresh = true;
    for word in text.split_whitespace() {
        let length = measure_text_width(word);
        if !fresh && used + 1 + length > width {
            out.push('\n');
            out.push_str(indent);
            used = measure_text_width(indent);
            fresh = true;
        }
        if !fresh {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += length;
        fresh = false;
    }
    out.push('\n');
    out
}

/// A text that came from elsewhere, safe for a terminal: control and direction-changing characters
/// are replaced; line feeds and tabs stay.
pub(crate) fn printable(text: &str) -> String {
    let unsafe_one = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.replace(unsafe_one, "\u{fffd}")
}

/// A number with so many digits after the point and commas between thousands; never `-0`.
pub(crate) fn number(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let negative = value < 0.0 && text.bytes().any(|b| (b'1'..=b'9').contains(&b));
    let mut out = String::from(if negative { "-" } else { "" });
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + fraction
}

/// Digits after the point that show a half-width to two significant ones.
pub(crate) fn decimals(half_width: f64) -> usize {
    (0..6)
        .find(|d| half_width * 10_f64.powi(*d) >= 9.95)
        .map_or(6, |d| usize::try_from(d).unwrap_or(0))
}

/// A bar of `width` characters at most, in eighths of one; any fraction over zero shows.
pub(crate) fn bar(fraction: f64, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    if fraction <= 0.0 || !fraction.is_finite() {
        return String::new();
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss
    )]
    // from 0 to the width
    let eighths = (fraction.min(1.0) * width as f64 * 8.0).round() as usize;
    let eighths = eighths.max(1);
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas_and_no_negative_zero() {
        for (value, decimals, text) in [
            (0.0, 0, "0"),
            (-0.04, 1, "0.0"),
            (999.6, 0, "1,000"),
            (-1_234_567.0, 0, "-1,234,567"),
            (12_345.678, 2, "12,345.68"),
        ] {
            assert_eq!(number(value, decimals), text);
        }
    }

    #[test]
    fn two_digits_of_a_half_width_are_shown() {
        for (half_width, expected) in [(39.2, 0), (9.96, 0), (3.92, 1), (0.0123, 3), (0.0, 6)] {
            assert_eq!(decimals(half_width), expected, "{half_width}");
        }
    }

    #[test]
    fn bars_grow_by_eighths() {
        assert_eq!(bar(1.0, 4), "████");
        assert_eq!(bar(0.5, 3), "█▌");
        assert_eq!(bar(0.53, 2), "█");
        assert_eq!(bar(0.000_001, 4), "▏");
        for nothing in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(bar(nothing, 4), "");
        }
    }

    #[test]
    fn words_wrap_and_long_ones_stay_whole() {
        assert_eq!(
            wrap("one two three extraordinarily four", 9, "- ", "  "),
            "- one two\n  three\n  extraordinarily\n  four\n"
        );
    }

    #[test]
    fn what_could_steer_a_terminal_is_replaced() {
        assert_eq!(
            printable("a\x1b[2Jb\u{202e}c\r\nd"),
            "a\u{fffd}[2Jb\u{fffd}c\u{fffd}\nd"
        );
    }

    #[test]
    fn wide_characters_keep_columns_straight() {
        let columns = [
            Column::text("name", ["日本".into(), "abc".into()]),
            Column::numbers("n", ["1".into(), "20".into()]).tone(Tone::Quiet),
        ];
        assert_eq!(
            lay_out(&columns, Ink(false)),
            "name   n\n日本   1\nabc   20\n"
        );
        assert_eq!(
            lay_out(&columns, Ink(true)),
            "\x1b[1mname\x1b[0m   \x1b[1mn\x1b[0m\n日本   \x1b[2m1\x1b[0m\nabc   \x1b[2m20\x1b[0m\n"
        );
    }

    #[test]
    fn long_cells_are_cut() {
        let column = Column::text("x", ["abcdef".into()]).at_most(4);
        assert_eq!(column.cells, ["abc…"]);
    }
}
