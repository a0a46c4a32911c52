//! Aligned columns for people. Programs read `-o json` instead, because the columns may change.

/// A table under construction: a header and rows of the same width.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column names.
    pub(crate) fn new(header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(|&name| name.to_owned()).collect()] }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The lines of the table. Columns are two spaces apart, blanks at the end of a line are left
    /// out, and numbers are aligned to the right.
    pub(crate) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cells = |column: usize| self.rows.iter().filter_map(move |row| row.get(column));
        let widths: Vec<usize> =
            (0..columns).map(|c| cells(c).map(|cell| width(cell)).max().unwrap_or(0)).collect();
        let numeric: Vec<bool> =
            (0..columns).map(|c| cells(c).skip(1).all(|cell| is_number(cell))).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let blanks = " ".repeat(widths[column].saturating_sub(width(cell)));
                let (before, after) =
                    if numeric[column] { (blanks.as_str(), "") } else { ("", blanks.as_str()) };
                line.push_str(&format!("{before}{cell}{after}  "));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

fn is_number(cell: &str) -> bool {
    cell == "-"
        || (!cell.is_empty() && cell.bytes().all(|b| b.is_ascii_digit() || b == b',' || b == b'.'))
}

/// How many columns of the terminal a cell takes, without its colours.
fn width(cell: &str) -> usize {
    let mut escape = false;
    cell.chars()
        .filter(|&c| {
            let visible = !escape && c != '\x1b';
            escape = c == '\x1b' || (escape && c != 'm');
            visible
        })
        .count()
}

/// A count with thousands separated: `27,004`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A size in powers of 1000: `1.1 kB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    #[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `1 job`, `2 jobs`.
pub(crate) fn plural(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// An ordinal: `2nd`.
pub(crate) fn ordinal(number: u32) -> String {
    let suffix = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_numbers_to_the_right() {
        let mut table = Table::new(&["APPLICATION", "GEN", "STATE"]);
        table.row(vec!["daily-load".into(), "91".into(), "\x1b[31mFAILED\x1b[0m".into()]);
        table.row(vec!["x".into(), "3".into(), "CLEANING".into()]);
        assert_eq!(
            table.render(),
            "APPLICATION  GEN  STATE\ndaily-load    91  \x1b[31mFAILED\x1b[0m\nx              3  CLEANING\n"
        );
    }

    #[test]
    fn numbers_are_shown_for_people() {
        assert_eq!(
            [count(0), count(999), count(27_004), count(1_000_000)],
            ["0", "999", "27,004", "1,000,000"]
        );
        assert_eq!(
            [size(0), size(999), size(1_100), size(999_950), size(3_100_000)],
            ["0 B", "999 B", "1.1 kB", "1.0 MB", "3.1 MB"]
        );
        assert_eq!([plural(1, "job"), plural(2, "job")], ["1 job", "2 jobs"]);
        assert_eq!(
            [1, 2, 3, 4, 11, 12, 21, 102].map(ordinal),
            ["1st", "2nd", "3rd", "4th", "11th", "12th", "21st", "102nd"]
        );
    }
}
