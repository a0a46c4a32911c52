//! The defaults of a session here, and what of a given session differs from them.

use std::collections::BTreeMap;

use datafusion::execution::session_state::SessionState;
use datafusion::prelude::SessionConfig;

use crate::error::GraphError;

/// The defaults here, where they differ from DataFusion's.
pub(crate) fn config() -> SessionConfig {
    let mut config = SessionConfig::new();
    let options = config.options_mut();
    // A job's rows stay in the order of its ORDER BY, which several files written in turn would not
    // keep.
    options.execution.minimum_parallel_output_files =
        datafusion::config::ConfigNonZeroUsize::try_new(1).expect("1 is not 0");
    // Errors point at the word that is wrong.
    options.sql_parser.collect_spans = true;
    config
}

/// Settings of a session that differ from [`config`]; they travel with every graph.
pub(crate) fn changed(state: &SessionState) -> Result<BTreeMap<String, String>, GraphError> {
    let usual: BTreeMap<_, _> =
        config().options().entries().into_iter().map(|e| (e.key, e.value)).collect();
    let changed: BTreeMap<String, String> = state
        .config_options()
        .entries()
        .into_iter()
        .filter(|entry| usual.get(&entry.key) != Some(&entry.value))
        .filter_map(|entry| entry.value.map(|value| (entry.key, value)))
        .collect();
    if changed.contains_key("datafusion.execution.listing_table_ignore_subdirectory") {
        return Err(GraphError::NotStorable {
            what: "listing_table_ignore_subdirectory = false".to_owned(),
            remedy: "tables must ignore sub-directories: unfinished output is staged in one"
                .to_owned(),
        });
    }
    Ok(changed)
}
