//! Where a job's rows are written, in words that survive being stored.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use datafusion::common::file_options::file_type::FileType;
use datafusion::config::{CsvOptions, JsonOptions, TableParquetOptions};
use datafusion::datasource::file_format::csv::{CsvFormat, CsvFormatFactory};
use datafusion::datasource::file_format::json::{JsonFormat, JsonFormatFactory};
use datafusion::datasource::file_format::parquet::{ParquetFormat, ParquetFormatFactory};
use datafusion::datasource::file_format::{
    FileFormatFactory, file_type_to_format, format_as_file_type,
};
use datafusion::datasource::listing::ListingTable;
use datafusion::datasource::source_as_provider;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::dml::CopyTo;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, TableSource};
use datafusion_proto::protobuf;
use prost::Message;

use crate::error::GraphError;
use crate::file_url;

/// A file format that jobs write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Character-separated values.
    Csv,
    /// Newline-delimited JSON.
    Json,
}

impl Format {
    /// The format's name: `parquet`, `csv` or `json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Json => "json",
        }
    }

    /// The inverse of [`Format::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Parquet, Self::Csv, Self::Json].into_iter().find(|format| format.name() == name)
    }
}

/// A target directory and how files in it are written.
#[derive(Clone, Debug, PartialEq)]
pub struct Sink {
    /// The target as the program wrote it, for people.
    pub target: String,
    /// The absolute directory that will hold the parts; `COPY TO 'x.parquet'` makes a directory of
    /// that name.
    pub location: String,
    /// The format of the files.
    pub format: Format,
    /// The format's options in DataFusion's protobuf; `None` takes those of the session.
    pub format_options: Option<Vec<u8>>,
    /// The options as written in SQL, which are applied on top.
    pub options: BTreeMap<String, String>,
    /// The columns that become `column=value` directories.
    pub partition_by: Vec<String>,
    /// Whether parts of other generations may be in the target.
    pub append: bool,
}

impl Sink {
    /// A sink that writes files into `location` (absolute) with the session's options.
    pub fn new(location: impl Into<String>, format: Format) -> Self {
        let location = location.into();
        Self {
            target: location.clone(),
            location: location.trim_end_matches('/').to_owned(),
            format,
            format_options: None,
            options: BTreeMap::new(),
            partition_by: Vec::new(),
            append: false,
        }
    }

    /// Sets one option by the name it has in SQL, such as `format.delimiter`.
    #[must_use]
    pub fn with_option(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.insert(name.into(), value.into());
        self
    }

    /// Splits rows into `column=value` directories.
    #[must_use]
    pub fn partitioned_by(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.partition_by = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Lets the target hold parts of other runs.
    #[must_use]
    pub fn appending(mut self) -> Self {
        self.append = true;
        self
    }

    pub(super) fn of_copy(copy: &CopyTo, append: bool) -> Result<Self, GraphError> {
        let factory = file_type_to_format(&copy.file_type)?;
        let (format, format_options) = encode_factory(factory.as_ref())?;
        let mut sink = Self::new(local_path(&copy.output_url)?, format);
        sink.format_options = format_options;
        sink.options = copy.options.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        sink.partition_by = copy.partition_by.clone();
        sink.append = append;
        Ok(sink)
    }

    /// The sink of an INSERT into an external table, which writes what a COPY with the table's
    /// options would write. The sink appends, because that is what SQL means by INSERT.
    pub(super) fn of_insert(
        target: &Arc<dyn TableSource>,
        input: &LogicalPlan,
    ) -> Result<(Self, LogicalPlan), GraphError> {
        let not_a_table = |what: &str| GraphError::NotStorable {
            what: format!("INSERT INTO {what}"),
            remedy: "insert into a CREATE EXTERNAL TABLE … LOCATION 'directory/'".to_owned(),
        };
        let provider = source_as_provider(target)?;
        let table = provider
            .downcast_ref::<ListingTable>()
            .ok_or_else(|| not_a_table("something that is not made of files"))?;
        let [url] = table.table_paths().as_slice() else {
            return Err(not_a_table("a table of several locations"));
        };
        if !url.is_collection() {
            return Err(not_a_table(&format!("'{url}', which is a single file")));
        }
        let options = table.options();
        let format = options.format.as_ref();
        let (format, bytes) = if let Some(csv) = format.downcast_ref::<CsvFormat>() {
            (Format::Csv, encode_csv(csv.options())?)
        } else if let Some(json) = format.downcast_ref::<JsonFormat>() {
            (Format::Json, encode_json(json.options())?)
        } else if let Some(parquet) = format.downcast_ref::<ParquetFormat>() {
            (Format::Parquet, encode_parquet(parquet.options())?)
        } else {
            return Err(not_a_table("a table of another format than CSV, JSON and Parquet"));
        };
        let mut sink = Self::new(local_path(url.as_str())?, format);
        sink.format_options = Some(bytes);
        sink.partition_by =
            options.table_partition_cols.iter().map(|(name, _)| name.clone()).collect();
        sink.append = true;
        // `WITH ORDER` is a promise about every file of the table, also about the ones that are
        // written here.
        let query = match options.file_sort_order.first() {
            Some(order) if !order.is_empty() => {
                LogicalPlanBuilder::from(input.clone()).sort(order.clone())?.build()?
            }
            _ => input.clone(),
        };
        Ok((sink, query))
    }

    /// The COPY of `query` into `url`, a directory with a trailing `/` or, when `single_file`, one
    /// file.
    pub(crate) fn copy_of(
        &self,
        query: LogicalPlan,
        url: String,
        single_file: bool,
    ) -> Result<LogicalPlan, GraphError> {
        let mut options: HashMap<String, String> = self.options.clone().into_iter().collect();
        options.insert("single_file_output".to_owned(), single_file.to_string());
        let copy = LogicalPlanBuilder::copy_to(
            query,
            url,
            self.file_type()?,
            options,
            self.partition_by.clone(),
        )?;
        Ok(copy.build()?)
    }

    fn file_type(&self) -> Result<Arc<dyn FileType>, GraphError> {
        let factory: Arc<dyn FileFormatFactory> = match (self.format, &self.format_options) {
            (Format::Csv, None) => Arc::new(CsvFormatFactory::new()),
            (Format::Csv, Some(bytes)) => {
                Arc::new(CsvFormatFactory::new_with_options(decode_csv(bytes)?))
            }
            (Format::Json, None) => Arc::new(JsonFormatFactory::new()),
            (Format::Json, Some(bytes)) => {
                Arc::new(JsonFormatFactory::new_with_options(decode_json(bytes)?))
            }
            (Format::Parquet, None) => Arc::new(ParquetFormatFactory::new()),
            (Format::Parquet, Some(bytes)) => {
                Arc::new(ParquetFormatFactory::new_with_options(decode_parquet(bytes)?))
            }
        };
        Ok(format_as_file_type(factory))
    }
}

/// A path of this machine. Object stores are refused, because they are not supported yet.
fn local_path(url: &str) -> Result<String, GraphError> {
    let path = match url.split_once("://") {
        None => url.to_owned(),
        Some(("file", path)) => file_url::decode(path).ok_or_else(|| GraphError::NotStorable {
            what: format!("the target '{url}'"),
            remedy: "use a path in UTF-8".to_owned(),
        })?,
        Some((scheme, _)) => {
            return Err(GraphError::NotStorable {
                what: format!("a target on {scheme}://"),
                remedy: "write to a path or file://".to_owned(),
            });
        }
    };
    if !path.starts_with('/') {
        return Err(GraphError::NotStorable {
            what: format!("the relative target '{path}'"),
            remedy:
                "give an absolute path: main() and the worker have different working directories"
                    .to_owned(),
        });
    }
    Ok(path)
}

fn encode_factory(
    factory: &dyn FileFormatFactory,
) -> Result<(Format, Option<Vec<u8>>), GraphError> {
    if let Some(csv) = factory.downcast_ref::<CsvFormatFactory>() {
        Ok((Format::Csv, csv.options.as_ref().map(encode_csv).transpose()?))
    } else if let Some(json) = factory.downcast_ref::<JsonFormatFactory>() {
        Ok((Format::Json, json.options.as_ref().map(encode_json).transpose()?))
    } else if let Some(parquet) = factory.downcast_ref::<ParquetFormatFactory>() {
        Ok((Format::Parquet, parquet.options.as_ref().map(encode_parquet).transpose()?))
    } else {
        Err(GraphError::NotStorable {
            what: format!("output as {}", factory.get_ext()),
            remedy: "write CSV, JSON or PARQUET".to_owned(),
        })
    }
}

// DataFusion's format messages hold the complete options of a format. Its `FileFormatFactory` codec
// is not used, because that codec cannot tell "no options" from "all defaults", and the latter
// ignores the session's settings.

fn encode_csv(options: &CsvOptions) -> Result<Vec<u8>, GraphError> {
    Ok(protobuf::CsvFormat { options: Some(options.try_into()?) }.encode_to_vec())
}

fn encode_json(options: &JsonOptions) -> Result<Vec<u8>, GraphError> {
    Ok(protobuf::NdJsonFormat { options: Some(options.try_into()?) }.encode_to_vec())
}

fn encode_parquet(options: &TableParquetOptions) -> Result<Vec<u8>, GraphError> {
    Ok(protobuf::ParquetFormat { options: Some(options.try_into()?) }.encode_to_vec())
}

fn damaged(error: impl std::fmt::Display) -> GraphError {
    GraphError::Unreadable { why: format!("format options: {error}") }
}

fn decode_csv(bytes: &[u8]) -> Result<CsvOptions, GraphError> {
    let message = protobuf::CsvFormat::decode(bytes).map_err(damaged)?;
    let options = message.options.ok_or_else(|| damaged("missing"))?;
    (&options).try_into().map_err(|e: DataFusionError| damaged(e))
}

fn decode_json(bytes: &[u8]) -> Result<JsonOptions, GraphError> {
    let message = protobuf::NdJsonFormat::decode(bytes).map_err(damaged)?;
    let options = message.options.ok_or_else(|| damaged("missing"))?;
    (&options).try_into().map_err(|e: DataFusionError| damaged(e))
}

fn decode_parquet(bytes: &[u8]) -> Result<TableParquetOptions, GraphError> {
    let message = protobuf::ParquetFormat::decode(bytes).map_err(damaged)?;
    let options = message.options.ok_or_else(|| damaged("missing"))?;
    (&options).try_into().map_err(|e: DataFusionError| damaged(e))
}
