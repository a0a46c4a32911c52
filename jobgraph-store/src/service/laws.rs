//! The laws of the record, run directly and through the wire, over every backend; and the same laws
//! over backends with a fault, which the laws have to catch.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod checkpoints;
mod ends;
mod face;
mod fences;
mod forget;
mod gate;
mod generations;
mod payloads;
mod places;
mod savepoints;
mod shares;
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use proto::{
    ApplicationRef, Digest, Epoch, EpochFence, Incarnation, IncarnationFence, JobId, job, jobgraph,
};
use tokio::task::JoinHandle;

use super::sample::{reference, request};
use crate::store::laws::{Verdict, ensure};
use face::{Answer, Face};
use gate::Gate;

/// A record under test.
///
/// Each law gets a court of its own, asks through the face as callers do, and holds a commit back
/// at the gate to have another caller come in between.
pub(crate) struct Court {
    face: Face,
    gate: Arc<Gate>,
    /// The service over the same backends, for what no caller can ask.
    inside: super::Service,
}

/// The words for a refusal of a call that should not be refused.
fn wrongly(what: &str) -> impl FnOnce(proto::Reason) -> String + use<'_> {
    move |reason| format!("{what} was refused: {reason}")
}

/// The answer that a caller in a task of its own got.
async fn answered<T>(caller: JoinHandle<T>) -> Result<T, String> {
    caller.await.map_err(|error| format!("a caller's task: {error}"))
}

/// The job that a graph was kept as.
fn kept_as(put: &jobgraph::PutJobGraphResponse) -> Result<JobId, String> {
    let job = put.job.as_ref().ok_or("a graph was kept as no job")?;
    job.job_id
        .parse::<JobId>()
        .map_err(|error| format!("a graph was kept as job {:?}: {error}", job.job_id))
}

fn fence(application: &ApplicationRef, epoch: u64) -> EpochFence {
    EpochFence { application: application.clone(), epoch: Epoch(epoch) }
}

fn incarnation(application: &ApplicationRef, number: u64) -> IncarnationFence {
    IncarnationFence { application: application.clone(), incarnation: Incarnation(number) }
}

fn succeeded(message: &str) -> job::JobEnd {
    job::JobEnd {
        outcome: job::JobOutcome::Succeeded.into(),
        message: message.into(),
        ..Default::default()
    }
}

/// An end whose output has to be published.
fn with_output() -> job::JobEnd {
    let output = job::Output { location: "/out".into(), ..Default::default() };
    with_manifest(vec![output])
}

fn with_manifest(outputs: Vec<job::Output>) -> job::JobEnd {
    job::JobEnd { manifest: Some(job::Manifest { outputs, ..Default::default() }), ..succeeded("") }
}

fn graph(name: &str, call: &str, ordinal: u32, bytes: &Bytes) -> jobgraph::PutJobGraphRequest {
    jobgraph::PutJobGraphRequest {
        name: name.into(),
        call_id: call.into(),
        ordinal,
        graph_digest: Digest::of(bytes).to_string(),
        graph_size_bytes: bytes.len() as u64,
        ..Default::default()
    }
}

impl Court {
    /// A submitted application.
    async fn application(&self, id: &str) -> Result<ApplicationRef, String> {
        let submitted = self
            .face
            .submit(request(&format!("r-{id}"), id))
            .await
            .map_err(wrongly("a submission"))?;
        Ok(reference(&submitted.application.unwrap()))
    }

    /// An application that is led with epoch 1 and has a cluster and a running job.
    async fn running(&self, id: &str) -> Result<(ApplicationRef, EpochFence, JobId), String> {
        let application = self.application(id).await?;
        let fence = fence(&application, 1);
        let lead = async {
            self.face.begin_attempt(&fence, "runner-0").await?;
            self.face.begin_cluster(&fence, "c1").await?;
            self.face.cluster_ready(&fence, Incarnation(1)).await?;
            self.face.main_starting(&fence, "unix:/main").await?;
            self.face.main_running(&fence, 7).await?;
            let bytes = Bytes::from_static(b"graph");
            self.face.put_payload(bytes.clone()).await?;
            let put = self.face.put_graph(&fence, graph("job", "call", 0, &bytes)).await?;
            let job: JobId = put.job.unwrap().job_id.parse().unwrap();
            self.face.submitted(&fence, job, Incarnation(1)).await?;
            Answer::Ok(job)
        };
        let job = lead.await.map_err(wrongly("an ordinary run"))?;
        Ok((application, fence, job))
    }

    /// The first cluster tells that the job has succeeded.
    async fn job_ends(&self, application: &ApplicationRef, job: JobId) -> Verdict {
        let ended = self.face.job_ended(&incarnation(application, 1), job, succeeded("")).await;
        ended.map(drop).map_err(wrongly("an end"))
    }
}

/// The verdict of one law.
pub(crate) async fn judge(law: &str, court: &Court) -> Verdict {
    match law {
        "once_an_attempt_has_begun_no_lower_epoch_commits" => {
            fences::no_lower_epoch_commits(court).await
        }
        "once_a_cluster_has_begun_no_lower_incarnation_commits" => {
            fences::no_lower_incarnation_commits(court).await
        }
        "an_epoch_begins_once_and_only_upwards" => {
            fences::an_epoch_begins_once_and_only_upwards(court).await
        }
        "an_intent_of_a_superseded_cluster_never_commits" => {
            places::no_intent_of_a_superseded_cluster(court).await
        }
        "an_intent_at_another_place_never_commits" => {
            places::no_intent_at_another_place(court).await
        }
        "a_cluster_that_moves_with_its_leader_has_not_died" => {
            places::a_cluster_that_moves_has_not_died(court).await
        }
        "the_record_says_where_processes_may_live" => places::the_record_says_where(court).await,
        "an_incarnation_says_whether_a_leader_needs_it" => {
            places::who_needs_an_incarnation(court).await
        }
        "a_place_that_was_given_up_has_nothing_and_all_are_told" => {
            places::what_was_given_up(court).await
        }
        "clean_waits_for_every_other_place" => shares::clean_waits(court).await,
        "nothing_of_what_is_clean_is_started" => shares::nothing_is_started(court).await,
        "an_abandoned_application_names_what_it_left_elsewhere" => {
            shares::what_was_abandoned(court).await
        }
        "a_cluster_ends_its_job_without_a_leader" => {
            fences::a_cluster_ends_its_job_without_a_leader(court).await
        }
        "the_first_end_of_a_job_wins" => ends::the_first_end_of_a_job_wins(court).await,
        "a_cancel_before_the_end_decides_it" => {
            ends::a_cancel_before_the_end_decides_it(court).await
        }
        "a_cancel_after_the_end_is_refused" => ends::a_cancel_after_the_end_is_refused(court).await,
        "no_job_slips_in_beside_the_end" => ends::no_job_slips_in_beside_the_end(court).await,
        "nothing_ends_with_work_left" => ends::nothing_ends_with_work_left(court).await,
        "every_write_may_be_repeated" => ends::every_write_may_be_repeated(court).await,
        "a_generation_begins_only_after_a_clean_one" => {
            generations::begins_only_after_a_clean_one(court).await
        }
        "two_submissions_of_one_id_make_one_generation" => {
            generations::two_submissions_make_one(court).await
        }
        "an_older_generation_is_never_run_again" => {
            generations::an_older_one_is_never_run_again(court).await
        }
        "pages_are_of_one_revision" => generations::pages_are_of_one_revision(court).await,
        "the_past_is_told_in_the_order_of_facts" => {
            generations::the_past_is_told_in_order(court).await
        }
        "a_checkpoint_outlives_its_cluster_and_only_the_current_one_writes" => {
            checkpoints::outlive_their_cluster(court).await
        }
        "checkpoint_ids_only_grow" => checkpoints::ids_only_grow(court).await,
        "checkpoints_are_shown_and_are_no_change_for_watchers" => {
            checkpoints::are_no_change_for_watchers(court).await
        }
        "checkpoints_are_bounded" => checkpoints::are_bounded(court).await,
        "a_wish_for_a_savepoint_is_kept_once_and_settled_once" => {
            savepoints::kept_once_and_settled_once(court).await
        }
        "a_stop_commits_its_savepoint_with_the_end" => {
            savepoints::a_stop_commits_with_the_end(court).await
        }
        "wishes_for_savepoints_are_bounded" => savepoints::are_bounded(court).await,
        "a_lost_job_says_so" => ends::a_lost_job_says_so(court).await,
        "a_job_may_stage_many_files" => payloads::a_job_may_stage_many_files(court).await,
        "no_two_calls_share_an_occurrence" => ends::no_two_calls_share_an_occurrence(court).await,
        "files_of_a_graph_are_kept_until_clean" => {
            payloads::files_are_kept_until_clean(court).await
        }
        "a_step_of_the_journal_is_kept_once" => {
            fences::a_step_of_the_journal_is_kept_once(court).await
        }
        "a_payload_that_is_pointed_to_is_never_swept" => {
            payloads::never_swept_while_pointed_to(court).await
        }
        "artifacts_are_freed_at_clean_and_graphs_are_kept" => payloads::freed_at_clean(court).await,
        "what_is_forgotten_is_gone_for_everybody" => forget::is_gone_for_everybody(court).await,
        "only_what_is_clean_is_forgotten" => forget::only_what_is_clean(court).await,
        "an_id_goes_on_after_what_was_forgotten" => forget::the_id_goes_on(court).await,
        "the_first_commit_of_forgetting_decides" => forget::the_first_commit_decides(court).await,
        "nothing_of_what_was_forgotten_comes_again" => {
            forget::nothing_of_it_comes_again(court).await
        }
        "the_index_of_what_is_not_clean_is_the_truth" => {
            forget::the_index_is_the_truth(court).await
        }
        "marks_go_with_their_payloads" => forget::marks_go_with_their_payloads(court).await,
        other => panic!("there is no law {other}"),
    }
}
