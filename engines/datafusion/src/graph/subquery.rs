//! Turns subqueries that DataFusion's encoder does not know into joins, as DataFusion's optimizer
//! would do anyway.
//!
//! Only the rules run that do so; everything else is left to the worker, also the value of `now()`.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::rewrite_set_comparison::RewriteSetComparison;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::{Optimizer, OptimizerContext};

use crate::error::GraphError;

/// `plan`, without `IN (SELECT …)`, `EXISTS`, `ANY`, `ALL` and correlated subqueries.
pub(super) fn as_joins(
    state: &SessionState,
    plan: &LogicalPlan,
) -> Result<LogicalPlan, GraphError> {
    if unstorable(plan)?.is_none() {
        return Ok(plan.clone());
    }
    let options = state.config().options();
    // The rules expect a plan whose types agree.
    let plan = state.analyzer().execute_and_check(plan.clone(), options, |_, _| {})?;
    let rules = Optimizer::with_rules(vec![
        Arc::new(RewriteSetComparison::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(DecorrelateLateralJoin::new()),
    ]);
    let context = OptimizerContext::new_with_config_options(Arc::clone(options))
        .without_query_execution_start_time();
    let plan = rules.optimize(plan, &context, |_, _| {})?;
    match unstorable(&plan)? {
        None => Ok(plan),
        Some(expression) => Err(GraphError::NotStorable {
            what: format!("the subquery in '{expression}'"),
            remedy: "write it as a JOIN: it cannot be turned into one here".to_owned(),
        }),
    }
}

/// The first expression that cannot be encoded.
fn unstorable(plan: &LogicalPlan) -> Result<Option<String>, GraphError> {
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|e| {
                Ok(match e {
                    Expr::InSubquery(_)
                    | Expr::Exists(_)
                    | Expr::SetComparison(_)
                    | Expr::OuterReferenceColumn(..) => {
                        found = Some(e.to_string());
                        TreeNodeRecursion::Stop
                    }
                    _ => TreeNodeRecursion::Continue,
                })
            })
        })
    })?;
    Ok(found)
}
