//! A table for people: columns aligned by spaces, the last one as long as it is.

use std::io::{self, Write};

/// Writes a head and rows; columns that are empty in every row are left out.
pub(super) fn write(out: &mut dyn Write, head: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let is_used = |column: usize| rows.iter().any(|row| !cell(row, column).is_empty());
    let columns: Vec<usize> = (0..head.len()).filter(|column| is_used(*column)).collect();
    let head: Vec<String> = head.iter().map(|word| (*word).to_owned()).collect();
    let all = || std::iter::once(&head).chain(rows);
    for row in all() {
        let mut line = String::new();
        for column in &columns {
            let width = all().map(|row| cell(row, *column).chars().count()).max();
            let width = width.unwrap_or_default();
            line.push_str(&format!("{:width$}  ", cell(row, *column)));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn cell(row: &[String], column: usize) -> &str {
    row.get(column).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_aligned_and_empty_ones_left_out() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [row(["a", "", "up"]), row(["bravo", "", "lost"])];
        let mut out = Vec::new();
        super::write(&mut out, &["NAME", "WHY", "STATE"], &rows).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "NAME   STATE\na      up\nbravo  lost\n");
    }
}
