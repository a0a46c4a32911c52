//! Refuses by name what cannot be stored, before DataFusion's encoder refuses it in its own words.

use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::TableReference;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::listing::ListingTable;
use datafusion::datasource::stream::StreamTable;
use datafusion::datasource::{DefaultTableSource, MemTable, ViewTable, empty::EmptyTable};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;

use crate::error::GraphError;

/// Checks the plan, its subqueries and the views in it.
pub(super) fn check(plan: &LogicalPlan) -> Result<(), GraphError> {
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::TableScan(scan) => {
                if let Some(source) = scan.source.downcast_ref::<DefaultTableSource>() {
                    let provider = source.table_provider.as_ref();
                    if let Some(view) = provider.downcast_ref::<ViewTable>() {
                        check(view.logical_plan())
                            .map_err(|e| DataFusionError::External(Box::new(e)))?;
                    } else if !is_storable(provider) {
                        let error = refusal(&scan.table_name, provider);
                        return Err(DataFusionError::External(Box::new(error)));
                    }
                }
            }
            LogicalPlan::Ddl(_) | LogicalPlan::Dml(_) | LogicalPlan::Copy(_) => {
                return Err(DataFusionError::External(Box::new(GraphError::NotStorable {
                    what: format!("'{}' inside another statement", node.display()),
                    remedy: "make it a statement of its own".to_owned(),
                })));
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

fn is_storable(provider: &dyn TableProvider) -> bool {
    // The working table of a recursive CTE has no public name, but DataFusion's encoder knows it.
    provider.is::<ListingTable>()
        || provider.is::<EmptyTable>()
        || provider.is::<datafusion::catalog::cte_worktable::CteWorkTable>()
}

/// Why a table cannot be stored.
pub(super) fn refusal(table: &TableReference, provider: &dyn TableProvider) -> GraphError {
    let (what, remedy) = if table.table().ends_with("()") {
        let name = table.table().trim_end_matches("()");
        let remedy = if matches!(name, "generate_series" | "range") {
            format!("SELECT unnest({name}(…)) makes the same rows")
        } else {
            "use tables of files, views and VALUES".to_owned()
        };
        (format!("the table function {name}()"), remedy)
    } else if provider.is::<MemTable>() {
        (
            format!("the in-memory table '{table}'"),
            "write its rows to a file and CREATE EXTERNAL TABLE over it, or use VALUES".to_owned(),
        )
    } else if provider.is::<StreamTable>() || provider.is::<StreamingTable>() {
        (
            format!("the unbounded table '{table}'"),
            "use a table of files; for streams use the flink engine".to_owned(),
        )
    } else {
        (format!("the table '{table}'"), "use tables of files, views and VALUES".to_owned())
    };
    GraphError::NotStorable { what, remedy }
}
