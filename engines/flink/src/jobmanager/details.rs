//! One job in detail: how far it has come, and what it has counted.

use proto::job::Progress;
use serde::Deserialize;

/// What one look at a job tells.
pub(crate) struct Look {
    /// The counters, in which Flink's count of restarts lags behind by up to 10 s.
    pub(crate) progress: Progress,
    /// When the job was restarted last, in Flink's milliseconds; 0 for never. Flink tells this at
    /// once.
    pub(crate) restarted_at: i64,
    /// Whether nothing here moves any more.
    pub(crate) is_over: bool,
}

/// How far a job has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// All its tasks run, or have done their work.
    Runs,
    /// Some of its tasks do not run yet.
    Starts,
    /// The job has ended.
    Over,
    /// The JobManager has no such job.
    Unknown,
}

/// The answer to the question for one job.
#[derive(Deserialize)]
pub(super) struct Details {
    #[serde(default)]
    state: String,
    #[serde(default)]
    duration: i64,
    #[serde(default)]
    vertices: Vec<JobVertex>,
    #[serde(default)]
    plan: JobPlan,
    #[serde(default)]
    timestamps: Timestamps,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "UPPERCASE", default)]
struct Timestamps {
    restarting: i64,
}

#[derive(Deserialize)]
struct JobVertex {
    id: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    metrics: Metrics,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct Metrics {
    read_bytes: u64,
    write_bytes: u64,
    read_records: u64,
    write_records: u64,
}

#[derive(Deserialize, Default)]
struct JobPlan {
    #[serde(default)]
    nodes: Vec<PlanNode>,
}

#[derive(Deserialize)]
struct PlanNode {
    id: String,
    #[serde(default)]
    inputs: Vec<PlanInput>,
}

#[derive(Deserialize)]
struct PlanInput {
    id: String,
}

/// One metric of a job, as the JobManager has last heard of it.
#[derive(Deserialize)]
pub(super) struct Metric {
    #[serde(default)]
    pub(super) value: String,
}

impl Details {
    /// What this look at the job tells. `restarts` are those that Flink has counted.
    pub(super) fn look(&self, restarts: u32) -> Look {
        Look {
            progress: self.progress(restarts),
            restarted_at: self.timestamps.restarting,
            is_over: self.stage() == Stage::Over,
        }
    }

    /// How far the job has come.
    pub(super) fn stage(&self) -> Stage {
        let works = |vertex: &JobVertex| matches!(vertex.status.as_str(), "RUNNING" | "FINISHED");
        match self.state.as_str() {
            "FINISHED" | "FAILED" | "CANCELED" | "SUSPENDED" => Stage::Over,
            "RUNNING" if !self.vertices.is_empty() && self.vertices.iter().all(works) => {
                Stage::Runs
            }
            _ => Stage::Starts,
        }
    }

    /// The counters of the job. Flink counts records where they cross between vertices: what
    /// sources hand on counts as read, and what is handed to vertices that hand on nothing counts
    /// as written. A job of one vertex counts none.
    fn progress(&self, restarts: u32) -> Progress {
        let consumes =
            |id: &str| self.plan.nodes.iter().any(|node| node.id == id && !node.inputs.is_empty());
        let consumed =
            |id: &str| self.plan.nodes.iter().any(|node| node.inputs.iter().any(|i| i.id == id));
        let sources = || self.vertices.iter().filter(|vertex| !consumes(&vertex.id));
        let sinks = || self.vertices.iter().filter(|vertex| !consumed(&vertex.id));
        let millis = u64::try_from(self.duration).unwrap_or_default();
        Progress {
            rows_in: sources().map(|vertex| vertex.metrics.write_records).sum(),
            rows_out: sinks().map(|vertex| vertex.metrics.read_records).sum(),
            bytes_in: sources().map(|vertex| vertex.metrics.write_bytes).sum(),
            bytes_out: sinks().map(|vertex| vertex.metrics.read_bytes).sum(),
            elapsed: Some(elapsed(millis)),
            restarts,
            ..Progress::default()
        }
    }
}

/// Milliseconds as the wire has them.
pub(crate) fn elapsed(millis: u64) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(millis / 1000).unwrap_or(i64::MAX),
        nanos: i32::try_from(millis % 1000 * 1_000_000).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_savepoint_waits_until_all_tasks_run() {
        let details = |state: &str, tasks: &[&str]| -> Stage {
            let vertices: Vec<_> = tasks
                .iter()
                .map(|status| serde_json::json!({"id": "a", "status": status}))
                .collect();
            let answer = serde_json::json!({"state": state, "vertices": vertices});
            serde_json::from_value::<Details>(answer).unwrap().stage()
        };
        for (state, tasks, expected) in [
            ("CREATED", &["CREATED"][..], Stage::Starts),
            ("RUNNING", &[], Stage::Starts),
            ("RUNNING", &["RUNNING", "INITIALIZING"], Stage::Starts),
            ("RUNNING", &["RUNNING", "FINISHED"], Stage::Runs),
            ("RESTARTING", &["RUNNING"], Stage::Starts),
            ("FAILING", &["FAILED"], Stage::Starts),
            ("FINISHED", &["FINISHED"], Stage::Over),
            ("CANCELED", &["CANCELED"], Stage::Over),
        ] {
            assert_eq!(details(state, tasks), expected, "{state} {tasks:?}");
        }
    }

    #[test]
    fn a_restart_is_told_by_its_time() {
        let answer = serde_json::json!({"timestamps": {"RUNNING": 5, "RESTARTING": 17}});
        assert_eq!(serde_json::from_value::<Details>(answer).unwrap().timestamps.restarting, 17);
    }

    #[test]
    fn records_are_counted_where_they_enter_and_leave() {
        let details: Details = serde_json::from_value(serde_json::json!({"duration": 1500, "vertices": [
            {"id": "a", "metrics": {"write-records": 10, "read-records": 0}},
            {"id": "b", "metrics": {"write-records": 4, "read-records": 10}},
            {"id": "c", "metrics": {"write-records": 0, "read-records": 4}}],
            "plan": {"nodes": [{"id": "a"}, {"id": "b", "inputs": [{"id": "a"}]}, {"id": "c", "inputs": [{"id": "b"}]}]}}))
        .unwrap();
        let progress = details.progress(2);
        assert_eq!((progress.rows_in, progress.rows_out, progress.restarts), (10, 4, 2));
        assert_eq!(
            progress.elapsed,
            Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 })
        );
    }
}
