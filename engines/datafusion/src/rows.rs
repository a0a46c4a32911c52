//! Kept rows as text: an Arrow IPC stream on stdin becomes a table, CSV or JSON on stdout, so that
//! the command which shows a result needs no Arrow of its own.

use std::io::{self, ErrorKind, Read, Write};

use datafusion::arrow::csv::WriterBuilder;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::json::LineDelimitedWriter;

use crate::table;

/// The shape of printed rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Shape {
    /// Aligned columns and a count.
    Table,
    /// A header and a line for each row.
    Csv,
    /// A JSON object for each row, one a line; the key of a NULL is left out.
    Json,
}

/// Prints an Arrow IPC stream. A reader that has gone away is no error. Every format but the table
/// is printed while the stream is read.
pub fn print(out: &mut impl Write, stream: impl Read, format: Shape) -> io::Result<()> {
    let printed = match format {
        Shape::Table => table::print_stream(out, stream),
        Shape::Csv => csv(out, stream).map_err(io_error),
        Shape::Json => json(out, stream).map_err(io_error),
    };
    match printed {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

fn csv(out: &mut impl Write, stream: impl Read) -> Result<(), ArrowError> {
    let reader = StreamReader::try_new(stream, None)?;
    let schema = reader.schema();
    let mut writer = WriterBuilder::new().with_header(true).build(&mut *out);
    let mut any = false;
    for batch in reader {
        writer.write(&batch?)?;
        any = true;
    }
    if !any {
        // The header says which columns there could have been.
        writer.write(&datafusion::arrow::array::RecordBatch::new_empty(schema))?;
    }
    Ok(())
}

fn json(out: &mut impl Write, stream: impl Read) -> Result<(), ArrowError> {
    let mut writer = LineDelimitedWriter::new(out);
    for batch in StreamReader::try_new(stream, None)? {
        writer.write(&batch?)?;
    }
    writer.finish()
}

fn io_error(error: ArrowError) -> io::Error {
    match error {
        ArrowError::IoError(_, error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{Int64Array, RecordBatch, StringArray};
    use datafusion::arrow::ipc::writer::StreamWriter;

    use super::*;

    fn stream(with_rows: bool) -> Vec<u8> {
        let carriers = Arc::new(StringArray::from(vec![Some("UA"), None])) as _;
        let flights = Arc::new(Int64Array::from(vec![4637, 1])) as _;
        let batch =
            RecordBatch::try_from_iter([("carrier", carriers), ("flights", flights)]).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        if with_rows {
            writer.write(&batch).unwrap();
        }
        writer.into_inner().unwrap()
    }

    fn printed(with_rows: bool, format: Shape) -> String {
        let mut out = Vec::new();
        print(&mut out, stream(with_rows).as_slice(), format).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rows_are_a_table_csv_or_json() {
        assert_eq!(
            printed(true, Shape::Table),
            "carrier | flights\n--------+--------\nUA      |    4637\n        |       1\n(2 rows)\n"
        );
        assert_eq!(printed(true, Shape::Csv), "carrier,flights\nUA,4637\n,1\n");
        assert_eq!(
            printed(true, Shape::Json),
            "{\"carrier\":\"UA\",\"flights\":4637}\n{\"flights\":1}\n"
        );
    }

    #[test]
    fn no_rows_are_a_header_or_nothing() {
        assert_eq!(printed(false, Shape::Csv), "carrier,flights\n");
        assert_eq!(printed(false, Shape::Json), "");
    }
}
