//! Numbers and tables for people.

pub(super) use crate::amounts::{bytes, seconds};

/// Rows under a heading, columns as wide as they need; the last one as it comes.
pub(super) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let heading = heading.map(str::to_owned);
    let all = || std::iter::once(&heading).chain(rows);
    let widths: [usize; N] =
        std::array::from_fn(|column| all().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let line = |row: &[String; N]| {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    all().map(line).collect::<Vec<_>>().join("\n")
}

/// The beginning of a sentence about so many things.
pub(super) fn things_are(count: usize) -> String {
    if count == 1 { "1 thing is".to_owned() } else { format!("{count} things are") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["docs".to_owned(), "1".to_owned()], ["d".to_owned(), "22".to_owned()]];
        assert_eq!(table(["SHARE", "N"], &rows), "SHARE  N\ndocs   1\nd      22");
    }
}
