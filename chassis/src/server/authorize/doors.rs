//! Which kinds of credential open which method: all methods of all services, in one table. The
//! methods themselves ask whose application, attempt or cluster it is. A method that does not stand
//! here is shut to every caller but the deployment.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::credential::Kind;

/// Methods of one service that the same kinds of credential open.
pub(crate) struct Doors {
    /// The name of the service, as `package.Service`.
    pub(crate) service: &'static str,
    /// The kinds beside the deployment, whose key mints all other tokens.
    pub(crate) who: &'static [Kind],
    pub(crate) methods: &'static [&'static str],
}

/// The table. `docs/guarantees.md` shows it to people, and a test compares the two.
pub(crate) const DOORS: &[Doors] = &[
    Doors {
        service: "mainspring.api.v1.ApplicationsService",
        who: &[],
        methods: &[
            "Submit",
            "Get",
            "List",
            "Watch",
            "Wait",
            "Cancel",
            "RequestSavepoint",
            "Stop",
            "Abandon",
            "Forget",
            "Events",
            "ReadLogs",
            "ReadResult",
            "GetGraph",
            "GetVersion",
        ],
    },
    // What a leader asks and decides.
    Doors {
        service: "mainspring.jobgraph.v1.RecordService",
        who: &[Kind::Contender],
        methods: &[
            "ReadRecord",
            "WatchRecord",
            "BeginAttempt",
            "PinArtifacts",
            "BeginCluster",
            "RecordCluster",
            "MainStarting",
            "RecordMain",
            "FindJob",
            "PutJobGraph",
            "RecordJobSubmitted",
            "RecordLeaderJobEnd",
            "RequestSavepoint",
            "RecordSavepoint",
            "RecordPublished",
            "RecordApplicationEnd",
            "MarkClean",
            "Journal",
            "AppendEvents",
            "Beat",
        ],
    },
    // What a cluster reports.
    Doors {
        service: "mainspring.jobgraph.v1.RecordService",
        who: &[Kind::Incarnation],
        methods: &[
            "RecordJobEnd",
            "ReadCheckpoints",
            "AddCheckpoint",
            "RemoveCheckpoint",
            "AdvanceCheckpointId",
            "ConfirmEpoch",
            "ConfirmIncarnation",
        ],
    },
    Doors {
        service: "mainspring.jobgraph.v1.PayloadService",
        who: &[Kind::Contender, Kind::Incarnation],
        methods: &["PutPayload", "GetPayload"],
    },
    Doors {
        service: "mainspring.jobgraph.v1.PayloadService",
        who: &[Kind::Contender],
        methods: &["TakePayload", "StatPayloads"],
    },
    Doors {
        service: "mainspring.jobgraph.v1.LogService",
        who: &[Kind::Contender],
        methods: &["AppendLogs"],
    },
    Doors {
        service: "mainspring.jobgraph.v1.ProcessService",
        who: &[],
        methods: &["PutProcess", "ListProcesses", "DeleteProcesses", "GiveUpPlace"],
    },
    Doors {
        service: "mainspring.jobgraph.v1.AdmissionService",
        who: &[],
        methods: &["ReportQueue"],
    },
    Doors { service: "mainspring.jobgraph.v1.LiveService", who: &[], methods: &["ReadLive"] },
    Doors { service: "mainspring.jobgraph.v1.BackupService", who: &[], methods: &["ReadBackup"] },
    Doors {
        service: "mainspring.election.v1.ElectionService",
        who: &[Kind::Contender],
        methods: &["Campaign", "Observe", "Resign"],
    },
    Doors {
        service: "mainspring.election.v1.HostsService",
        who: &[],
        methods: &["Attend", "ListHosts"],
    },
    Doors {
        service: "mainspring.artifact.v1.ArtifactService",
        who: &[Kind::Contender],
        methods: &["Fetch", "Release"],
    },
    Doors {
        service: "mainspring.artifact.v1.ArtifactService",
        who: &[],
        methods: &["Read", "Stat", "List", "Evict"],
    },
    Doors {
        service: "mainspring.lifecycle.v1.LifecycleService",
        who: &[Kind::Contender],
        methods: &["Provision", "WatchCluster", "Teardown"],
    },
    Doors {
        service: "mainspring.lifecycle.v1.LifecycleService",
        who: &[],
        methods: &["ProvisionContenders", "TeardownContenders", "ListProcesses"],
    },
    Doors {
        service: "mainspring.telemetry.v1.MetricsService",
        who: &[],
        methods: &["ReadMetrics"],
    },
    Doors {
        service: "mainspring.runner.v1.ExecutionService",
        who: &[Kind::Attempt],
        methods: &[
            "Execute",
            "AssignJob",
            "CancelJob",
            "RequestSavepoint",
            "GetSavepoint",
            "PutPayload",
            "WatchJob",
            "ReadResult",
            "Journal",
            "GetCluster",
            "GetAttempt",
        ],
    },
    Doors {
        service: "mainspring.tether.v1.TetherService",
        who: &[Kind::Owner],
        methods: &["Own", "End", "ReadOutput", "Release"],
    },
    Doors {
        service: "mainspring.engine.v1.DescribeService",
        who: &[Kind::Describe],
        methods: &["Info", "DescribeCluster", "DescribeMain", "Publish", "Sweep"],
    },
    Doors {
        service: "mainspring.engine.v1.JobsService",
        who: &[Kind::Jobs],
        methods: &["Adopt", "Submit", "Watch", "Cancel", "Savepoint"],
    },
];

/// The kinds that may call `/package.Service/Method`, beside the deployment.
pub fn who_may(path: &str) -> &'static [Kind] {
    INDEX.get(path).copied().unwrap_or_default()
}

/// Whether `/package.Service/Method` is a method of the contract.
pub(in crate::server) fn is_listed(path: &str) -> bool {
    INDEX.contains_key(path)
}

static INDEX: LazyLock<HashMap<String, &'static [Kind]>> = LazyLock::new(|| {
    let paths = |doors: &'static Doors| {
        let path = move |method: &&str| (format!("/{}/{method}", doors.service), doors.who);
        doors.methods.iter().map(path)
    };
    DOORS.iter().flat_map(paths).collect()
});

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use prost::Message as _;

    use super::*;

    #[test]
    fn every_method_of_the_contract_stands_in_the_table_once_and_nothing_else_does() {
        let files = prost_types::FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET).unwrap();
        let mut contract = BTreeSet::new();
        for file in &files.file {
            for service in &file.service {
                let name = format!("{}.{}", file.package(), service.name());
                contract.extend(
                    service.method.iter().map(|method| format!("/{name}/{}", method.name())),
                );
            }
        }
        let listed: Vec<String> = DOORS
            .iter()
            .flat_map(|doors| {
                doors.methods.iter().map(|method| format!("/{}/{method}", doors.service))
            })
            .collect();
        let table: BTreeSet<String> = listed.iter().cloned().collect();
        assert_eq!(table, contract, "say in the table who may call a new method");
        assert_eq!(listed.len(), table.len(), "a method stands there twice");
    }

    #[test]
    fn mains_token_opens_execution_and_nothing_else() {
        let open: BTreeSet<&str> = DOORS
            .iter()
            .filter(|doors| doors.who.contains(&Kind::Attempt))
            .map(|doors| doors.service)
            .collect();
        assert_eq!(open, BTreeSet::from(["mainspring.runner.v1.ExecutionService"]));
    }

    #[test]
    fn what_runs_under_a_tether_does_not_open_it_and_no_kind_opens_two_kinds_of_child() {
        for (kind, services) in [
            (Kind::Owner, ["mainspring.tether.v1.TetherService"]),
            (Kind::Describe, ["mainspring.engine.v1.DescribeService"]),
            (Kind::Jobs, ["mainspring.engine.v1.JobsService"]),
        ] {
            let open: Vec<&str> = DOORS
                .iter()
                .filter(|doors| doors.who.contains(&kind))
                .map(|doors| doors.service)
                .collect();
            assert_eq!(open, services, "{kind:?}");
            let others = DOORS.iter().filter(|doors| services.contains(&doors.service));
            others.for_each(|doors| assert_eq!(doors.who, [kind]));
        }
    }

    #[test]
    fn what_is_not_in_the_table_is_shut() {
        assert!(who_may("/mainspring.jobgraph.v1.RecordService/Invented").is_empty());
        assert_eq!(
            who_may("/mainspring.jobgraph.v1.RecordService/RecordJobEnd"),
            [Kind::Incarnation]
        );
    }

    /// One row of the table, as people read it.
    fn shown(doors: &Doors) -> String {
        // The processes that serve these methods have no key, only the one token.
        let held = [Kind::Attempt, Kind::Owner, Kind::Describe, Kind::Jobs];
        let first =
            Some(&Kind::Deployment).filter(|_| !doors.who.iter().any(|kind| held.contains(kind)));
        let who: Vec<&str> = first.into_iter().chain(doors.who).map(|kind| kind.as_str()).collect();
        let service = doors.service.trim_start_matches("mainspring.");
        format!("| `{service}` | {} | {} |", doors.methods.join(", "), who.join(", "))
    }

    #[test]
    fn the_page_for_people_shows_this_table() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guarantees.md");
        let text = std::fs::read_to_string(page).unwrap();
        for doors in DOORS {
            let line = shown(doors);
            assert!(text.contains(&line), "docs/guarantees.md lacks the line\n{line}");
        }
        assert_eq!(
            text.matches("Service` |").count(),
            DOORS.len(),
            "it shows a row that is not in the table"
        );
    }
}
