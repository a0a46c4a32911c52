//! How long a cluster whose outputs no fence holds back goes on without a word from the record.
//! Lifecycle ends such a cluster, and a leader on another host waits for that end, so both count by
//! one setting, which is the same on all hosts of a deployment.

use std::time::Duration;

/// The variable of the setting, which processes hand on to the processes that they start.
pub const VARIABLE: &str = "MAINSPRING_CLUSTER_GRACE_MS";

/// What a successor waits at the least beyond the grace. Where lifecycle is gone as well, the
/// processes of a cluster go on for the grace of their tethers, a minute; where it is there, it
/// needs some seconds to notice, and up to half a minute for an end.
const SLACK: Duration = Duration::from_secs(90);

/// How long such a cluster goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub struct GraceArgs {
    /// How long a host that is cut off from the record goes on with a cluster whose plan says
    /// `commit: none`, in milliseconds (30000 to 86400000). A leader on another host waits 1.5
    /// times that for its end. Counts where there are several hosts, and is the same on all
    #[arg(long, env = VARIABLE, value_name = "MS", default_value_t = 300_000,
          value_parser = clap::value_parser!(u64).range(30_000..=86_400_000))]
    pub cluster_grace_ms: u64,
}

impl GraceArgs {
    /// How long the cluster goes on from its last confirmation.
    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.cluster_grace_ms)
    }

    /// How long a successor waits until nothing of the cluster lives: half as long again, and never
    /// less than an end may take.
    pub fn successor_waits(&self) -> Duration {
        let grace = self.grace();
        grace + (grace / 2).max(SLACK)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        grace: GraceArgs,
    }

    fn given(arguments: &[&str]) -> Option<GraceArgs> {
        let parsed = Alone::try_parse_from(std::iter::once(&"serve").chain(arguments));
        parsed.ok().map(|alone| alone.grace)
    }

    #[test]
    fn a_successor_waits_half_as_long_again_and_never_less_than_an_end_may_take() {
        let seconds = Duration::from_secs;
        let waits = |grace: GraceArgs| (grace.grace(), grace.successor_waits());
        assert_eq!(given(&[]).map(waits), Some((seconds(300), seconds(450))));
        let short = given(&["--cluster-grace-ms", "30000"]);
        assert_eq!(short.map(waits), Some((seconds(30), seconds(120))));
        for wrong in ["29999", "86400001", "5m", "-1", ""] {
            assert_eq!(given(&["--cluster-grace-ms", wrong]), None, "{wrong:?}");
        }
    }
}
