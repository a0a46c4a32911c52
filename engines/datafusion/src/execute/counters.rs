//! The counters of a running job, taken from DataFusion's own metrics when they are asked for.

use std::sync::{Arc, Mutex, PoisonError};

use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;

/// Counters of a job; 0 where DataFusion does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Rows read from files.
    pub rows_in: u64,
    /// Rows returned or written.
    pub rows_out: u64,
    /// Bytes read from files: for Parquet the bytes that it says it scanned, for text the sizes of
    /// the files begun.
    pub bytes_in: u64,
    /// Bytes of the result or of the staged files, known at the end.
    pub bytes_out: u64,
}

/// A handle to a job's counters; clones share them.
#[derive(Clone, Debug, Default)]
pub struct ProgressGauge {
    inner: Arc<Mutex<Gauge>>,
}

#[derive(Debug, Default)]
struct Gauge {
    /// The plans that run, each with whether it writes; a job that writes an empty file runs two of
    /// them.
    plans: Vec<(Arc<dyn ExecutionPlan>, bool)>,
    rows_out: u64,
    bytes_out: u64,
}

impl ProgressGauge {
    /// The counters now.
    pub fn snapshot(&self) -> Counters {
        let gauge = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counters = Counters {
            rows_out: gauge.rows_out,
            bytes_out: gauge.bytes_out,
            ..Counters::default()
        };
        for (plan, writes) in &gauge.plans {
            if *writes {
                // The sink's own count appears only when the sink is done, whereas what flows into
                // it is counted live.
                counters.rows_out +=
                    plan.children().iter().map(|child| output_rows(child.as_ref())).sum::<u64>();
            }
            add_scans(plan.as_ref(), &mut counters);
        }
        counters
    }

    pub(super) fn watch(&self, plan: Arc<dyn ExecutionPlan>, writes: bool) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).plans.push((plan, writes));
    }

    /// Notes that a writing plan is done: its own count of rows replaces what was seen flowing into
    /// it.
    pub(super) fn wrote(&self, rows: u64) {
        let mut gauge = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, writes) in &mut gauge.plans {
            *writes = false;
        }
        gauge.rows_out += rows;
    }

    /// How often operators went to the disk.
    #[cfg(test)]
    pub(super) fn spills(&self) -> usize {
        fn count(plan: &dyn ExecutionPlan) -> usize {
            let own = plan.metrics().and_then(|m| m.spill_count()).unwrap_or(0);
            own + plan.children().iter().map(|child| count(child.as_ref())).sum::<usize>()
        }
        let gauge = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        gauge.plans.iter().map(|(plan, _)| count(plan.as_ref())).sum()
    }

    pub(super) fn add_out(&self, rows: u64, bytes: u64) {
        let mut gauge = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        gauge.rows_out += rows;
        gauge.bytes_out += bytes;
    }
}

/// The rows that left a node; a node without metrics passes on those of its children.
fn output_rows(plan: &dyn ExecutionPlan) -> u64 {
    match plan.metrics().and_then(|m| m.output_rows()) {
        Some(rows) => rows as u64,
        None => plan.children().iter().map(|child| output_rows(child.as_ref())).sum(),
    }
}

fn add_scans(plan: &dyn ExecutionPlan, counters: &mut Counters) {
    if let Some(source) = plan.downcast_ref::<DataSourceExec>()
        && let Some(scan) = source.data_source().downcast_ref::<FileScanConfig>()
    {
        let metrics = plan.metrics().unwrap_or_default();
        let rows = metrics.output_rows().unwrap_or(0) as u64;
        counters.rows_in += rows;
        counters.bytes_in += match metrics.sum_by_name("bytes_scanned") {
            Some(bytes) => bytes.as_usize() as u64,
            None if rows > 0 => {
                scan.file_groups.iter().flat_map(|g| g.iter()).map(file_bytes).sum()
            }
            None => 0,
        };
    }
    for child in plan.children() {
        add_scans(child.as_ref(), counters);
    }
}

fn file_bytes(file: &datafusion::datasource::listing::PartitionedFile) -> u64 {
    match &file.range {
        Some(range) => (range.end - range.start).max(0) as u64,
        None => file.object_meta.size,
    }
}
