//! The engine's extension codec, which writer and reader share under one name.
//!
//! Ballista's codec gives file formats other numbers than DataFusion's default one; a plan written
//! by one and read by the other ran and wrote Arrow files. The codec here carries no extension at
//! all and refuses each by name, so that two readers have nothing to understand differently.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::datasource::file_format::FileFormatFactory;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Extension, LogicalPlan};
use datafusion_proto::logical_plan::LogicalExtensionCodec;

use super::storable;
use crate::error::GraphError;

/// The codec that [`super::CODEC`] names.
#[derive(Clone, Copy, Debug, Default)]
pub struct Codec;

fn refused<T>(error: GraphError) -> Result<T> {
    Err(DataFusionError::External(Box::new(error)))
}

fn unknown<T>(what: &str) -> Result<T> {
    refused(GraphError::Unreadable {
        why: format!("it holds {what}, which this codec never writes"),
    })
}

impl LogicalExtensionCodec for Codec {
    fn try_decode(&self, _: &[u8], _: &[LogicalPlan], _: &TaskContext) -> Result<Extension> {
        unknown("an extension node")
    }

    fn try_encode(&self, node: &Extension, _: &mut Vec<u8>) -> Result<()> {
        refused(GraphError::NotStorable {
            what: format!("the plan node '{}'", node.node.name()),
            remedy: "express it with SQL or DataFrame operations".to_owned(),
        })
    }

    fn try_decode_table_provider(
        &self,
        _: &[u8],
        table: &TableReference,
        _: SchemaRef,
        _: &TaskContext,
    ) -> Result<Arc<dyn TableProvider>> {
        unknown(&format!("the custom table {table}"))
    }

    fn try_encode_table_provider(
        &self,
        table: &TableReference,
        provider: Arc<dyn TableProvider>,
        _: &mut Vec<u8>,
    ) -> Result<()> {
        refused(storable::refusal(table, provider.as_ref()))
    }

    fn try_decode_file_format(
        &self,
        _: &[u8],
        _: &TaskContext,
    ) -> Result<Arc<dyn FileFormatFactory>> {
        unknown("a file format")
    }

    fn try_encode_file_format(&self, _: &mut Vec<u8>, _: Arc<dyn FileFormatFactory>) -> Result<()> {
        refused(GraphError::NotStorable {
            what: "a COPY inside another statement".to_owned(),
            remedy: "make the COPY a statement of its own".to_owned(),
        })
    }
}
