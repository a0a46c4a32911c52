//! The decisions about one generation, as tables and stories. The files below have one kind of
//! decision each.
#![allow(clippy::unwrap_used)]

mod clusters;
mod graphs;
mod mains;
mod processes;
mod submissions;

use std::time::{Duration, UNIX_EPOCH};

use ::record::{ApplicationEnd, Holder};
use proto::{Digest, Epoch, EpochFence, Generation, jobgraph};

use super::*;

fn draft() -> Draft {
    let application = ApplicationRef { id: "orders".parse().unwrap(), generation: Generation(2) };
    let dossier = Dossier {
        application,
        head: Head { latest_generation: 2 },
        attempt: AttemptFence::default(),
        cluster: ClusterFence::default(),
        spec: GenerationSpec::default(),
        state: GenerationState::default(),
        desired: api::Desired::default(),
        artifacts: Artifacts::default(),
        jobs: BTreeMap::new(),
        checkpoints: BTreeMap::new(),
    };
    Draft::new(dossier, UNIX_EPOCH + Duration::from_secs(1_767_225_600))
}

fn fence(epoch: u64) -> EpochFence {
    EpochFence { application: draft().dossier.application, epoch: Epoch(epoch) }
}

fn led(epoch: u64) -> Draft {
    let mut draft = draft();
    attempt::begin(&mut draft, &fence(epoch), &Holder::new("runner-0", 41), "").unwrap();
    draft
}

fn graph(call: &str, name: &str, ordinal: u32) -> jobgraph::PutJobGraphRequest {
    jobgraph::PutJobGraphRequest {
        call_id: call.into(),
        name: name.into(),
        ordinal,
        graph_digest: Digest::of(name.as_bytes()).to_string(),
        ..Default::default()
    }
}

/// The id of the job that was made.
fn made(put: &job::Put) -> JobId {
    put.made.as_ref().unwrap().id
}

/// The phase that people see.
fn phase(draft: &Draft) -> api::Phase {
    draft.dossier.state.application().phase()
}

#[test]
fn whatever_an_engine_says_fits_into_the_record() {
    let mut draft = led(1);
    let put = job::put_graph(&mut draft, &fence(1), &graph("1", "a", 0)).unwrap();
    let said = "é".repeat(100_000);
    let end = proto::job::JobEnd {
        outcome: proto::job::JobOutcome::Failed.into(),
        message: said.clone(),
        ..Default::default()
    };
    let first = job::ended_by_leader(&mut draft, &fence(1), made(&put), &end).unwrap();
    let again = job::ended_by_leader(&mut draft, &fence(1), made(&put), &end).unwrap();
    assert_eq!(first, again, "a repeat of what was cut is a repeat");
    let end = ApplicationEnd {
        outcome: api::Outcome::Failed,
        reason: "JOB_FAILED".into(),
        message: said.clone(),
    };
    ending::end(&mut draft, &fence(1), end, 0).unwrap();
    ending::mark_clean(&mut draft, &fence(1), &vec![said; 1000], &[]).unwrap();
    let largest = prost::Message::encoded_len(&draft.dossier.state)
        .max(prost::Message::encoded_len(&draft.dossier.jobs[&made(&put)]));
    assert!(largest < crate::store::MAX_VALUE_BYTES, "{largest} bytes");
    assert!(
        draft.events.len() < 90
            && draft.events.iter().all(|event| prost::Message::encoded_len(event) < 20_000)
    );
}
