//! Rows as a table on a terminal, the way psql prints them.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

/// Prints `batches` with aligned columns: numbers to the right, NULL as nothing.
///
/// The widths come from all rows, so that all rows have to be in memory; a caller that may have
/// very many of them bounds their number.
pub fn print(out: &mut impl Write, schema: &SchemaRef, batches: &[RecordBatch]) -> io::Result<()> {
    let options = FormatOptions::default().with_null("");
    let header: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
    let right: Vec<bool> = schema.fields().iter().map(|f| is_number(f.data_type())).collect();
    let mut rows = Vec::new();
    for batch in batches {
        let columns = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
            .collect::<Result<Vec<_>, ArrowError>>()
            .map_err(io::Error::other)?;
        for row in 0..batch.num_rows() {
            rows.push(
                columns.iter().map(|c| one_line(&c.value(row).to_string())).collect::<Vec<_>>(),
            );
        }
    }
    let mut widths: Vec<usize> = header.iter().map(|name| name.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    line(out, &header, &widths, &right)?;
    let rule: Vec<String> = widths.iter().map(|w| "-".repeat(*w)).collect();
    writeln!(out, "{}", rule.join("-+-"))?;
    for row in &rows {
        line(out, row, &widths, &right)?;
    }
    let plural = if rows.len() == 1 { "" } else { "s" };
    writeln!(out, "({} row{plural})", rows.len())?;
    out.flush()
}

/// Prints an Arrow IPC stream from a file.
pub fn print_file(out: &mut impl Write, path: &Path) -> io::Result<()> {
    print_stream(out, BufReader::new(File::open(path)?))
}

/// Prints an Arrow IPC stream.
pub fn print_stream(out: &mut impl Write, stream: impl Read) -> io::Result<()> {
    let reader = StreamReader::try_new(stream, None).map_err(io::Error::other)?;
    let schema = reader.schema();
    let batches = reader.collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?;
    print(out, &schema, &batches)
}

fn line(
    out: &mut impl Write,
    cells: &[String],
    widths: &[usize],
    right: &[bool],
) -> io::Result<()> {
    let mut text = String::new();
    for (n, ((cell, width), right)) in cells.iter().zip(widths).zip(right).enumerate() {
        if n > 0 {
            text.push_str(" | ");
        }
        let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
        if *right {
            text.push_str(&pad);
            text.push_str(cell);
        } else {
            text.push_str(cell);
            text.push_str(&pad);
        }
    }
    writeln!(out, "{}", text.trim_end())
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

/// A cell as one line, because a line end in a value would break the table.
fn one_line(cell: &str) -> String {
    cell.replace('\r', "\\r").replace('\n', "\\n")
}
