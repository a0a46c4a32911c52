//! The laws over the backends and both faces, of one store and of two; and every law over faults.

use std::time::Duration;

use super::*;
use crate::blobs::fs::FsBlobs;
use crate::blobs::memory::MemoryBlobs;
use crate::service::Service;
use crate::service::laws::face::direct::Direct;
use crate::service::laws::face::wired::Wired;
use crate::service::sample::on_etcd;
use crate::store::Metadata;
use crate::store::embedded::EmbeddedMetadata;
use crate::store::memory::MemoryMetadata;
use crate::store::mutants::{Fault, Mutant};
use chassis::clock::{SystemClock, timeout};
use futures::StreamExt as _;

/// A law that takes longer than this hangs.
const BOUND: Duration = Duration::from_secs(30);

async fn over(
    metadata: Arc<dyn Metadata>,
    blobs: Arc<dyn crate::blobs::Blobs>,
    wired: bool,
) -> Court {
    let gate = Arc::new(Gate::new(metadata));
    let inside = Service::new(gate.clone(), blobs.clone(), Arc::new(SystemClock));
    let face = if wired {
        Wired::face(gate.clone(), blobs).await
    } else {
        Face::new(inside.clone(), Direct(inside.clone()))
    };
    Court { face, gate, inside }
}

/// A court of two stores, each with its own way to the record and both with the same payloads. The
/// laws ask them in turn.
async fn of_two(
    metadata: [Arc<dyn Metadata>; 2],
    blobs: Arc<dyn crate::blobs::Blobs>,
    wired: bool,
) -> Court {
    let [left, right] = metadata;
    let Court { face, gate, inside } = over(left, blobs.clone(), wired).await;
    let beside = Arc::new(gate.beside(right));
    let other = if wired {
        Wired::face(beside, blobs).await
    } else {
        let other = Service::new(beside, blobs, Arc::new(SystemClock));
        Face::new(other.clone(), Direct(other))
    };
    Court { face: face.and(other), gate, inside }
}

async fn two_in_memory(wired: bool) -> Court {
    let metadata = Arc::new(MemoryMetadata::default());
    of_two([metadata.clone(), metadata], Arc::new(MemoryBlobs::default()), wired).await
}

async fn in_memory(wired: bool) -> Court {
    over(Arc::new(MemoryMetadata::default()), Arc::new(MemoryBlobs::default()), wired).await
}

/// A court over the backends on disk; the directory outlives the court.
async fn embedded(wired: bool) -> (Court, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let metadata = EmbeddedMetadata::open(&directory.path().join("record.redb")).unwrap();
    let blobs = FsBlobs::open(&directory.path().join("payloads")).unwrap();
    (over(Arc::new(metadata), Arc::new(blobs), wired).await, directory)
}

async fn verdict(law: &str, court: &Court) -> Verdict {
    timeout(&SystemClock, BOUND, judge(law, court)).await.unwrap_or_else(|_| Err("it hangs".into()))
}

macro_rules! laws {
    ($($law:ident)*) => {
        const ALL: &[&str] = &[$(stringify!($law)),*];

        mod in_memory_directly {
            $(#[tokio::test]
            async fn $law() {
                assert_eq!(super::verdict(stringify!($law), &super::in_memory(false).await).await, Ok(()));
            })*
        }

        mod in_memory_through_the_wire {
            $(#[tokio::test]
            async fn $law() {
                assert_eq!(super::verdict(stringify!($law), &super::in_memory(true).await).await, Ok(()));
            })*
        }

        mod two_stores_in_memory_directly {
            $(#[tokio::test]
            async fn $law() {
                let court = super::two_in_memory(false).await;
                assert_eq!(super::verdict(stringify!($law), &court).await, Ok(()));
            })*
        }

        mod two_stores_in_memory_through_the_wire {
            $(#[tokio::test]
            async fn $law() {
                let court = super::two_in_memory(true).await;
                assert_eq!(super::verdict(stringify!($law), &court).await, Ok(()));
            })*
        }

        mod embedded_directly {
            $(#[tokio::test]
            async fn $law() {
                let (court, _directory) = super::embedded(false).await;
                assert_eq!(super::verdict(stringify!($law), &court).await, Ok(()));
            })*
        }

        mod embedded_through_the_wire {
            $(#[tokio::test]
            async fn $law() {
                let (court, _directory) = super::embedded(true).await;
                assert_eq!(super::verdict(stringify!($law), &court).await, Ok(()));
            })*
        }
    };
}

laws! {
    once_an_attempt_has_begun_no_lower_epoch_commits
    once_a_cluster_has_begun_no_lower_incarnation_commits
    an_epoch_begins_once_and_only_upwards
    an_intent_of_a_superseded_cluster_never_commits
    an_intent_at_another_place_never_commits
    a_cluster_that_moves_with_its_leader_has_not_died
    the_record_says_where_processes_may_live
    an_incarnation_says_whether_a_leader_needs_it
    a_place_that_was_given_up_has_nothing_and_all_are_told
    clean_waits_for_every_other_place
    nothing_of_what_is_clean_is_started
    an_abandoned_application_names_what_it_left_elsewhere
    a_cluster_ends_its_job_without_a_leader
    the_first_end_of_a_job_wins
    a_cancel_before_the_end_decides_it
    a_cancel_after_the_end_is_refused
    no_job_slips_in_beside_the_end
    nothing_ends_with_work_left
    every_write_may_be_repeated
    a_generation_begins_only_after_a_clean_one
    two_submissions_of_one_id_make_one_generation
    an_older_generation_is_never_run_again
    pages_are_of_one_revision
    the_past_is_told_in_the_order_of_facts
    a_checkpoint_outlives_its_cluster_and_only_the_current_one_writes
    checkpoint_ids_only_grow
    checkpoints_are_shown_and_are_no_change_for_watchers
    checkpoints_are_bounded
    a_wish_for_a_savepoint_is_kept_once_and_settled_once
    a_stop_commits_its_savepoint_with_the_end
    wishes_for_savepoints_are_bounded
    a_lost_job_says_so
    a_job_may_stage_many_files
    no_two_calls_share_an_occurrence
    files_of_a_graph_are_kept_until_clean
    a_step_of_the_journal_is_kept_once
    a_payload_that_is_pointed_to_is_never_swept
    artifacts_are_freed_at_clean_and_graphs_are_kept
    what_is_forgotten_is_gone_for_everybody
    only_what_is_clean_is_forgotten
    an_id_goes_on_after_what_was_forgotten
    the_first_commit_of_forgetting_decides
    nothing_of_what_was_forgotten_comes_again
    the_index_of_what_is_not_clean_is_the_truth
    marks_go_with_their_payloads
}

/// Each fault below the record, and the laws that have to see it.
const FAULTS: &[(Fault, &[&str])] = &[
    (
        Fault::IgnoresCompares,
        &[
            "once_an_attempt_has_begun_no_lower_epoch_commits",
            "once_a_cluster_has_begun_no_lower_incarnation_commits",
            "an_epoch_begins_once_and_only_upwards",
            "an_intent_of_a_superseded_cluster_never_commits",
            "an_intent_at_another_place_never_commits",
            "clean_waits_for_every_other_place",
            "nothing_of_what_is_clean_is_started",
            "the_first_end_of_a_job_wins",
            "a_cancel_before_the_end_decides_it",
            "a_cancel_after_the_end_is_refused",
            "no_job_slips_in_beside_the_end",
            "two_submissions_of_one_id_make_one_generation",
            "a_checkpoint_outlives_its_cluster_and_only_the_current_one_writes",
            "checkpoint_ids_only_grow",
            "a_wish_for_a_savepoint_is_kept_once_and_settled_once",
            "no_two_calls_share_an_occurrence",
            "a_step_of_the_journal_is_kept_once",
            "a_payload_that_is_pointed_to_is_never_swept",
        ],
    ),
    (Fault::ComparesTheFirst, &[]),
    (Fault::ReadsTheLatest, &["pages_are_of_one_revision"]),
    (Fault::TearsCommits, &["the_past_is_told_in_the_order_of_facts"]),
    (Fault::Loses("/attempt"), &["once_an_attempt_has_begun_no_lower_epoch_commits"]),
    (Fault::Loses("/cluster"), &["once_a_cluster_has_begun_no_lower_incarnation_commits"]),
    (
        Fault::Loses("/state"),
        &["an_older_generation_is_never_run_again", "every_write_may_be_repeated"],
    ),
    (
        Fault::Loses("/job/"),
        &["a_cluster_ends_its_job_without_a_leader", "nothing_ends_with_work_left"],
    ),
    (Fault::Loses("/event"), &["the_past_is_told_in_the_order_of_facts"]),
    (
        Fault::Loses("/ref/"),
        &[
            "artifacts_are_freed_at_clean_and_graphs_are_kept",
            "files_of_a_graph_are_kept_until_clean",
            "a_job_may_stage_many_files",
        ],
    ),
    (
        Fault::Loses("/checkpoints/"),
        &["checkpoints_are_shown_and_are_no_change_for_watchers", "checkpoints_are_bounded"],
    ),
    (
        Fault::Loses("/desired"),
        &[
            "a_wish_for_a_savepoint_is_kept_once_and_settled_once",
            "a_stop_commits_its_savepoint_with_the_end",
            "wishes_for_savepoints_are_bounded",
        ],
    ),
    (Fault::Loses("^u/"), &["the_index_of_what_is_not_clean_is_the_truth"]),
    (
        Fault::Loses("^x/"),
        &[
            "the_record_says_where_processes_may_live",
            "a_place_that_was_given_up_has_nothing_and_all_are_told",
            "clean_waits_for_every_other_place",
            "an_abandoned_application_names_what_it_left_elsewhere",
        ],
    ),
    (Fault::Loses("^f/"), &["what_is_forgotten_is_gone_for_everybody"]),
    (Fault::Loses("/request/"), &["what_is_forgotten_is_gone_for_everybody"]),
    (Fault::Loses("/sweep"), &["marks_go_with_their_payloads"]),
    (Fault::Loses("^sweeps"), &["marks_go_with_their_payloads"]),
    (Fault::Loses("^r/"), &["a_generation_begins_only_after_a_clean_one"]),
];

/// How many laws are judged at the same time on one etcd.
const AT_ONCE: usize = 4;

/// Two stores over a real etcd, each with a connection and a watch of its own. Every law gets a
/// record of its own there.
#[tokio::test(flavor = "multi_thread")]
async fn every_law_holds_of_two_stores_on_etcd() {
    let server = e2e::etcd::Etcd::start();
    let server = &server;
    let judged = ALL.iter().copied().map(|law| async move {
        let prefix = format!("/{law}");
        let left = on_etcd(server, &prefix, "left").await;
        let metadata = [left, on_etcd(server, &prefix, "right").await];
        let directory = tempfile::tempdir().unwrap();
        let blobs = Arc::new(FsBlobs::open(directory.path()).unwrap());
        let court = of_two(metadata, blobs, false).await;
        (law, verdict(law, &court).await)
    });
    let judged: Vec<_> = futures::stream::iter(judged).buffer_unordered(AT_ONCE).collect().await;
    let broken: Vec<_> = judged.into_iter().filter(|(_, verdict)| verdict.is_err()).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[tokio::test]
async fn every_fault_is_seen_by_its_laws_and_every_law_sees_a_fault() {
    let mut judged = tokio::task::JoinSet::new();
    for (fault, _) in FAULTS {
        for law in ALL {
            judged.spawn(async move {
                let court =
                    over(Arc::new(Mutant::new(*fault)), Arc::new(MemoryBlobs::default()), false)
                        .await;
                // A law that panics or hangs over a fault has seen the fault as well.
                let verdict = tokio::spawn(async move {
                    timeout(&SystemClock, Duration::from_secs(3), judge(law, &court)).await
                });
                (*fault, *law, !matches!(verdict.await, Ok(Ok(Ok(())))))
            });
        }
    }
    let seen: Vec<(Fault, &str)> = judged
        .join_all()
        .await
        .into_iter()
        .filter(|seen| seen.2)
        .map(|seen| (seen.0, seen.1))
        .collect();
    for (fault, laws) in FAULTS {
        assert!(seen.iter().any(|(known, _)| known == fault), "no law sees {fault:?}");
        for law in *laws {
            assert!(seen.contains(&(*fault, *law)), "{law} does not see {fault:?}");
        }
    }
    for law in ALL {
        assert!(seen.iter().any(|(_, known)| known == law), "{law} sees no fault");
    }
}
