//! What lifecycle shows of itself in numbers.

use std::sync::Arc;

use chassis::telemetry::metrics;
use client::places::Kind;

use super::Lifecycle;
use crate::model::State;

impl Lifecycle {
    /// Shows how many processes of each kind live here, for as long as this lifecycle does.
    pub fn show_processes(&self) {
        let inner = Arc::downgrade(&self.0);
        let help = "Processes of applications that live on this host";
        metrics::look_up("mainspring.processes", "", help, move |say| {
            let Some(lifecycle) = inner.upgrade().map(Self) else { return };
            for kind in [Kind::Cluster, Kind::Contender] {
                say(lifecycle.living(kind) as f64, &[("kind", kind.as_str())]);
            }
        });
    }

    fn living(&self, kind: Kind) -> usize {
        let known = self.known();
        let groups = known.groups.values().filter(|group| group.id.kind == kind);
        let statuses = groups.flat_map(|group| group.statuses());
        statuses.filter(|status| status.state != State::Exited).count()
    }
}
