//! The points where a process of one run dies, and what has to hold afterwards.

use e2e::Host;
use e2e::etcd::Etcd;
use e2e::process::eventually;

use crate::squares::{ended_once, run_with};

/// A point, and what has to hold beside the one right outcome when a process has died there.
pub(crate) struct Arrow {
    /// The point; its first word is the process that dies. `@10` is the tenth time that any process
    /// passes the point.
    pub(crate) point: &'static str,
    /// How many leaders there are at least: a leader that dies has a successor.
    pub(crate) leaders: u64,
    /// How many incarnations of the cluster there are at most: a cluster outlives its leader.
    pub(crate) clusters: u64,
}

impl Arrow {
    /// Runs the application with a process that dies at the point.
    #[track_caller]
    pub(crate) fn is_survived(&self, host: Host) {
        // The last arrows come after the application's end, when a host without work would leave.
        let host = host.with("MAINSPRING_HOST_LINGER", "1m");
        let (host, run) = run_with(host, self.point, "kill");
        let run = run.exits(0);
        // A store that has just died is started again first.
        eventually("the record answers", || host.run(&["status", "squares"]).code == 0);
        self.holds(&host.status("squares"));
        ended_once(&host, run);
    }

    /// Checks what the table says of the application's status.
    #[track_caller]
    pub(crate) fn holds(&self, status: &serde_json::Value) {
        let leaders = status["leadership"]["ordinal"].as_u64().unwrap();
        assert!(leaders >= self.leaders, "{leaders} leaders: {status:#}");
        let clusters: u64 = status["cluster"]["incarnation"].as_str().unwrap().parse().unwrap();
        assert!(clusters <= self.clusters, "{clusters} incarnations: {status:#}");
    }
}

/// Makes the table of its rows, and two tests of each row. `file` and `both` say which record the
/// row is tested on each time; a row of `file` is tested on etcd in the long form.
macro_rules! arrows {
    ($($test:ident $point:literal $records:ident $leaders:literal $clusters:literal)*) => {
        pub(crate) const ARROWS: &[Arrow] =
            &[$(Arrow { point: $point, leaders: $leaders, clusters: $clusters }),*];

        $(
            mod $test {
                use super::*;

                const ARROW: Arrow =
                    Arrow { point: $point, leaders: $leaders, clusters: $clusters };

                #[test]
                fn is_survived() {
                    ARROW.is_survived(Host::new());
                }

                on_etcd! { $records }
            }
        )*
    };
}

/// Makes the test of a row on etcd.
macro_rules! on_etcd {
    (file) => {
        #[test]
        #[ignore = "the long form: make e2e-arrows"]
        fn is_survived_on_etcd() {
            survived_on_etcd(&ARROW);
        }
    };
    (both) => {
        #[test]
        fn is_survived_on_etcd() {
            survived_on_etcd(&ARROW);
        }
    };
}

#[track_caller]
fn survived_on_etcd(arrow: &Arrow) {
    let etcd = Etcd::start();
    let address = format!("http://{}", etcd.address());
    arrow.is_survived(Host::new().with("MAINSPRING_ETCD", address));
}

// A leader that dies before BeginAttempt is no leader of the record. A row of the store is about
// what it does with payloads; the commits are those of any record, and the first ones are left out,
// because a Submit that is cut off may end with an unknown outcome. There is no row for what comes
// right after a leader has written what its watch of the record also shows it (pinned artifacts, a
// cluster that begins or is ready, a publication, the end, clean): no point there is passed for
// sure, because the watch overtakes the answer.
arrows! {
    // the test                        the point                          record  leaders clusters
    up_services_ready                  "up.services-ready"                file    1       1
    up_reconciling                     "up.reconciling"                   file    1       1
    up_before_teardown                 "up.before-teardown"               file    1       1

    lifecycle_before_start             "lifecycle.before-start"           file    1       1
    lifecycle_after_start              "lifecycle.after-start"            file    1       1
    // Two contenders are started first, so that the third process is the worker.
    lifecycle_before_start_of_worker   "lifecycle.before-start@3"         file    1       2
    lifecycle_after_start_of_worker    "lifecycle.after-start@3"          file    1       1
    lifecycle_in_teardown              "lifecycle.in-teardown"            file    1       1

    elector_before_grant               "elector.before-grant"             both    1       1
    elector_after_grant                "elector.after-grant"              both    1       1

    runner_before_renew                "runner.before-renew"              file    1       1
    runner_after_renew                 "runner.after-renew"               file    1       1
    runner_before_begin_attempt        "runner.before-begin-attempt"      file    1       1
    runner_after_begin_attempt         "runner.after-begin-attempt"       file    2       1
    runner_before_pin                  "runner.before-pin"                file    2       1
    runner_before_begin_cluster        "runner.before-begin-cluster"      file    2       1
    runner_before_provision            "runner.before-provision"          file    2       1
    runner_after_provision             "runner.after-provision"           file    2       1
    runner_before_adopt                "runner.before-adopt"              file    2       1
    runner_after_adopt                 "runner.after-adopt"               file    2       1
    runner_before_record_ready         "runner.before-record-ready"       file    2       1
    runner_before_main_starting        "runner.before-main-starting"      file    2       1
    runner_after_main_starting         "runner.after-main-starting"       file    2       1
    runner_in_main                     "runner.in-main"                   file    2       1
    runner_before_put_job_graph        "runner.before-put-job-graph"      file    2       1
    runner_after_put_job_graph         "runner.after-put-job-graph"       file    2       1
    runner_before_record_submission    "runner.before-record-submission"  file    2       1
    runner_after_record_submission     "runner.after-record-submission"   file    2       1
    runner_before_submit               "runner.before-submit"             file    2       1
    runner_after_submit                "runner.after-submit"              file    2       1
    runner_before_publish              "runner.before-publish"            file    2       1
    runner_after_publish               "runner.after-publish"             file    2       1
    runner_before_record_published     "runner.before-record-published"   file    2       1
    runner_before_answer               "runner.before-answer"             file    2       1
    runner_after_answer                "runner.after-answer"              file    2       1
    runner_before_main_ended           "runner.before-main-ended"         file    2       1
    runner_after_main_ended            "runner.after-main-ended"          file    2       1
    runner_before_record_end           "runner.before-record-end"         file    2       1
    runner_before_teardown             "runner.before-teardown"           file    2       1
    runner_after_teardown              "runner.after-teardown"            file    2       1
    runner_before_mark_clean           "runner.before-mark-clean"         file    2       1
    runner_before_resign               "runner.before-resign"             file    1       1
    runner_after_resign                "runner.after-resign"              file    1       1

    worker_before_record_job_end       "worker.before-record-job-end"     file    1       2
    worker_after_record_job_end        "worker.after-record-job-end"      file    1       2

    store_before_put_payload           "store.before-put-payload"         both    1       1
    store_after_put_payload            "store.after-put-payload"          both    1       1
    store_before_point                 "store.before-point"               both    1       1
    store_after_point                  "store.after-point"                both    1       1
    // The sweep of what was pinned comes with clean.
    store_before_condemn               "store.before-condemn"             both    1       1
    store_after_condemn                "store.after-condemn"              both    1       1
    store_before_raise                 "store.before-raise"               both    1       1
    store_after_raise                  "store.after-raise"                both    1       1
    store_before_drop                  "store.before-drop"                both    1       1
    store_after_drop                   "store.after-drop"                 both    1       1
    store_before_remove                "store.before-remove"              both    1       1
    store_after_remove                 "store.after-remove"               both    1       1
    store_before_10th_commit           "store.before-commit@10"           both    1       1
    store_after_10th_commit            "store.after-commit@10"            both    1       1
    store_before_20th_commit           "store.before-commit@20"           both    1       1
    store_after_20th_commit            "store.after-commit@20"            both    1       1
}
