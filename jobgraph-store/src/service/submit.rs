//! `Submit`: the only maker of generations.

use proto::{ApplicationId, ApplicationRef, api};
use rand::RngExt as _;

use super::write::TRIES;
use super::{Loaded, Service, load};
use crate::error::Error;
use crate::keys::unclean::{self, Unclean};
use crate::keys::{Kind, event, generation, head, listing, request, secrets};
use crate::model::event::Telling;
use crate::model::submit::{Known, New, Submission};
use crate::model::{Dossier, Draft, Refusal, spec, submit};
use crate::store::{Commit, Compare, Operation, Read, Transaction};

/// What a submission came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Submitted {
    /// The generation that the submission was answered with.
    pub application: api::Application,
    /// Whether the request id was accepted before.
    pub accepted_earlier: bool,
    /// Whether the generation was there before the request.
    pub existing: bool,
}

impl Service {
    /// Makes a new generation, durable before it is answered. The same request id is answered the
    /// same generation.
    pub async fn submit(&self, request: api::SubmitRequest) -> Result<Submitted, Error> {
        spec::check_target(&request)?;
        let violations = spec::violations(&request);
        if !violations.is_empty() {
            return Err(Refusal::SpecInvalid(violations).into());
        }
        if let Some(shared) = &self.shared_dir {
            let violations = spec::of_one_host(&request, shared);
            if !violations.is_empty() {
                return Err(Refusal::LocationLocal(violations).into());
            }
        }
        for _ in 0..TRIES {
            let id = self.id_of(&request)?;
            if let Some(submitted) = self.try_submit(&request, &id).await? {
                return Ok(submitted);
            }
        }
        Err(Error::Contended("this application id".into()))
    }

    fn id_of(&self, request: &api::SubmitRequest) -> Result<ApplicationId, Error> {
        let spec = request.spec.clone().unwrap_or_default();
        if !spec.application_id.is_empty() {
            return Ok(spec.application_id.parse()?);
        }
        // The alphabet lacks digits and letters that people take for one another.
        const ALPHABET: &[u8] = b"23456789abcdefghjkmnpqrstuvwxyz";
        let mut random = rand::rng();
        let unique: String =
            (0..4).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect();
        let stem = spec::id_stem(&spec.program.unwrap_or_default().uri);
        Ok(format!("{stem}-{unique}").parse()?)
    }

    /// What a request was answered with. A request whose generation was forgotten is forgotten with
    /// the same commit, although its key goes a little later.
    async fn still_kept(
        &self,
        accepted: Option<request::AcceptedRequest>,
        at: u64,
    ) -> Result<Option<request::AcceptedRequest>, Error> {
        let Some(accepted) = accepted else { return Ok(None) };
        let loaded = self.load(&accepted.answered_with()?, Some(at)).await;
        Ok(unless_forgotten(loaded)?.map(|_| accepted))
    }

    /// One try. `None`: another writer was faster, or a generated id is taken.
    async fn try_submit(
        &self,
        request: &api::SubmitRequest,
        id: &ApplicationId,
    ) -> Result<Option<Submitted>, Error> {
        let generated = request.spec.as_ref().is_some_and(|spec| spec.application_id.is_empty());
        let reads = vec![
            Read::Key(request::key(&request.request_id)),
            Read::Key(head::key(id)),
            Read::Key(head::sequence_key(id)),
        ];
        let view = self.metadata.read(reads, None).await?;
        let head: head::Head = load::one(&view, 1)?.unwrap_or_default();
        let accepted = self.still_kept(load::one(&view, 0)?, view.revision).await?;
        if generated && accepted.is_none() && head.latest_generation > 0 {
            return Ok(None);
        }
        let latest = ApplicationRef { id: id.clone(), generation: head.latest() };
        let latest = if head.latest_generation == 0 {
            None
        } else {
            unless_forgotten(self.load(&latest, Some(view.revision)).await)?
        };
        let known = Known {
            accepted,
            latest_clean: latest.as_ref().is_none_or(|latest| latest.dossier.is_clean()),
            latest_forgotten: head.latest_generation > 0 && latest.is_none(),
            head,
        };
        let now = self.clock.wall();
        let mut transaction = Transaction::default();
        let compare = |key, index| Compare { key, revision: load::revision_of(&view, index) };
        transaction.compares.push(compare(request::key(&request.request_id), 0));
        transaction.compares.push(compare(head::key(id), 1));
        let decided = submit::decide(&known, request, id, now)?;
        let mut accept = |application: &ApplicationRef, existing| {
            let accepted = request::AcceptedRequest {
                content: submit::content_digest(request).as_bytes().to_vec(),
                application_id: application.id.to_string(),
                generation: application.generation.get(),
                existing,
            };
            let key = request::key(&request.request_id);
            let beside = request::of_generation_key(application, &key);
            transaction
                .operations
                .push(Operation::Put(beside, request::AnsweredWith {}.to_stored()));
            transaction.operations.push(Operation::Put(key, accepted.to_stored()));
        };
        let (application, existing) = match decided {
            Submission::AcceptedEarlier(application, existing) => {
                let loaded = self.load(&application, None).await?;
                return Ok(Some(Submitted {
                    application: self.show(&loaded),
                    accepted_earlier: true,
                    existing,
                }));
            }
            Submission::Existing(application) => {
                accept(&application, true);
                // The decision rests on whether the latest generation is clean.
                let state = generation::state_key(&application);
                let revision =
                    latest.as_ref().and_then(|latest| latest.revisions.get(&state).copied());
                transaction.compares.push(Compare { key: state, revision });
                (application, true)
            }
            Submission::New(new) => {
                accept(&new.application, false);
                let sequence: head::EventSequence = load::one(&view, 2)?.unwrap_or_default();
                transaction.compares.push(compare(head::sequence_key(id), 2));
                if request.validate_only {
                    return Ok(Some(Submitted {
                        application: planned(&new),
                        accepted_earlier: false,
                        existing: false,
                    }));
                }
                create(&mut transaction, &new, sequence, now);
                (new.application, false)
            }
        };
        if !request.validate_only && matches!(self.commit(transaction).await?, Commit::Conflict(_))
        {
            return Ok(None);
        }
        let loaded = self.load(&application, None).await?;
        Ok(Some(Submitted { application: self.show(&loaded), accepted_earlier: false, existing }))
    }
}

/// `None` where the generation was forgotten.
fn unless_forgotten(loaded: Result<Loaded, Error>) -> Result<Option<Loaded>, Error> {
    match loaded {
        Err(Error::Refused(Refusal::Forgotten(_))) => Ok(None),
        loaded => loaded.map(Some),
    }
}

/// The application that a submission would make, for a submission that is only checked.
fn planned(new: &New) -> api::Application {
    let mut shown = crate::model::view::application(&dossier(new), 0);
    proto::uri::mask_application(&mut shown);
    shown.desired = None;
    shown
}

fn dossier(new: &New) -> Dossier {
    Dossier {
        application: new.application.clone(),
        head: head::Head { latest_generation: new.application.generation.get() },
        attempt: Default::default(),
        cluster: Default::default(),
        spec: new.spec.clone(),
        state: new.state.clone(),
        desired: Default::default(),
        artifacts: Default::default(),
        jobs: Default::default(),
        checkpoints: Default::default(),
    }
}

fn create(
    transaction: &mut Transaction,
    new: &New,
    sequence: head::EventSequence,
    now: std::time::SystemTime,
) {
    let application = &new.application;
    let mut draft = Draft::new(dossier(new), now);
    let telling = Telling::new("submitted", format!("{application} submitted"))
        .with("requested_by", &new.spec.requested_by);
    draft.tell_from(telling, "record".into(), 0);
    let mut put = |key, value| transaction.operations.push(Operation::Put(key, value));
    put(head::key(&application.id), draft.dossier.head.to_stored());
    put(generation::spec_key(application), new.spec.to_stored());
    put(generation::state_key(application), new.state.to_stored());
    put(crate::keys::desired::key(application), api::Desired::default().to_stored());
    put(listing::key(application, now), listing::Listed { indexed: true }.to_stored());
    put(unclean::key(application), Unclean::of(application, now).to_stored());
    if !new.secrets.values.is_empty() {
        put(secrets::key(application), new.secrets.to_stored());
    }
    let last = (sequence.last + 1..).zip(draft.events).map(|(number, mut told)| {
        told.event_id = number;
        put(event::key(&application.id, number), told.to_stored());
        number
    });
    let last = last.last().unwrap_or(sequence.last);
    put(head::sequence_key(&application.id), head::EventSequence { last }.to_stored());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;
    use std::sync::Arc;

    use chassis::clock::SystemClock;
    use proto::Reason;

    use crate::blobs::memory::MemoryBlobs;
    use crate::service::Service;
    use crate::service::sample::request;
    use crate::store::memory::MemoryMetadata;

    #[tokio::test]
    async fn a_file_of_one_host_is_refused_where_there_are_several() {
        let alone = Service::new(
            Arc::new(MemoryMetadata::default()),
            Arc::new(MemoryBlobs::default()),
            Arc::new(SystemClock),
        );
        let sharing = |directory| alone.clone().sharing(Some(Path::new(directory)));
        let refused = sharing("/mnt/shared").submit(request("r", "b")).await.unwrap_err();
        let text = refused.to_string();
        for named in ["spec.program.uri", "/a/b.sql", "/mnt/shared"] {
            assert!(text.contains(named), "{text}");
        }
        let reason = proto::problem::reason(&tonic::Status::from(refused));
        assert_eq!(reason, Some(Reason::LocationLocal));

        sharing("/a").submit(request("r", "b")).await.unwrap();
        alone.submit(request("another", "one-host")).await.unwrap();
    }
}
