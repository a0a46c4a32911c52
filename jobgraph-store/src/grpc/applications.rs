//! `mainspring.api.v1.ApplicationsService`: the deployment only.

use std::time::{Duration, SystemTime};

use chassis::server::require_deployment;
use chassis::telemetry::trace;
use proto::api::applications_service_server::ApplicationsService;
use proto::api::{self, watch_response};
use proto::{ApplicationId, InvalidId};
use tonic::{Request, Response, Status};

use super::{Answer, Answers, Wire, answers};
use crate::error::Error;
use crate::logs::LogFilter;
use crate::model::Refusal;
use crate::service::list::Filter;
use crate::service::{Snapshot, WatchItem};

fn id(text: &str) -> Result<ApplicationId, Status> {
    text.parse().map_err(|invalid: InvalidId| Status::from(Refusal::from(invalid)))
}

fn time(name: &str, time: Option<prost_types::Timestamp>) -> Result<Option<SystemTime>, Status> {
    let malformed = || {
        Status::from(Refusal::RequestInvalid(format!(
            "{name} is no time that this machine can count"
        )))
    };
    time.map(|time| SystemTime::try_from(time).map_err(|_| malformed())).transpose()
}

fn known<E: TryFrom<i32>>(name: &str, value: i32) -> Result<E, Status> {
    E::try_from(value).map_err(|_| {
        Refusal::RequestInvalid(format!("{name}: {value} is not one of this build's values")).into()
    })
}

#[tonic::async_trait]
impl ApplicationsService for Wire {
    async fn submit(&self, request: Request<api::SubmitRequest>) -> Answer<api::SubmitResponse> {
        require_deployment(&request)?;
        let mut request = request.into_inner();
        // The run is part of this call's trace, unless the request names another trace.
        let (trace, here) = (trace::current_trace_id(), trace::current_traceparent());
        if request.traceparent.is_empty()
            || trace.is_some_and(|id| request.traceparent.contains(&id))
        {
            request.traceparent = here.unwrap_or(request.traceparent);
        }
        let submitted = self.0.submit(request).await?;
        let crate::service::Submitted { application, accepted_earlier, existing } = submitted;
        Ok(Response::new(api::SubmitResponse {
            application: Some(application),
            accepted_earlier,
            existing,
        }))
    }

    async fn get(&self, request: Request<api::GetRequest>) -> Answer<api::GetResponse> {
        require_deployment(&request)?;
        let request = request.into_inner();
        let application = self.0.get(&id(&request.application_id)?, request.generation).await?;
        Ok(Response::new(api::GetResponse { application: Some(application) }))
    }

    async fn list(&self, request: Request<api::ListRequest>) -> Answer<api::ListResponse> {
        require_deployment(&request)?;
        let request = request.into_inner();
        let phases =
            request.phases.iter().map(|phase| known("phases", *phase)).collect::<Result<_, _>>()?;
        let since = time("since", request.since)?;
        let application = match request.application_id.as_str() {
            "" => None,
            text => Some(id(text)?),
        };
        let api::ListRequest { labels, latest_only, .. } = request;
        let filter = Filter { labels, phases, since, latest_only, application };
        let page = self.0.list(&filter, request.page_size as usize, &request.page_token).await?;
        let (applications, next_page_token, revision) =
            (page.applications, page.next, page.revision);
        Ok(Response::new(api::ListResponse { applications, next_page_token, revision }))
    }

    type WatchStream = Answers<api::WatchResponse>;

    async fn watch(&self, request: Request<api::WatchRequest>) -> Answer<Self::WatchStream> {
        require_deployment(&request)?;
        let request = request.into_inner();
        let one = match request.application_id.as_str() {
            "" => None,
            text => Some((id(text)?, request.generation)),
        };
        let snapshot =
            if request.snapshot_unclean_only { Snapshot::Unclean } else { Snapshot::Whole };
        let items = self.0.watch(one, snapshot, request.after_revision).await?;
        Ok(Response::new(answers(items, |item| {
            let item = match item {
                WatchItem::Application(application) => {
                    watch_response::Item::Application(*application)
                }
                WatchItem::SnapshotEnd(revision) => {
                    watch_response::Item::SnapshotEnd(api::SnapshotEnd { revision })
                }
                WatchItem::Bookmark(bookmark) => watch_response::Item::Bookmark(bookmark),
                WatchItem::Forgotten(application) => {
                    watch_response::Item::Forgotten(api::Forgotten {
                        application_id: application.id.to_string(),
                        generation: application.generation.get(),
                    })
                }
            };
            api::WatchResponse { item: Some(item) }
        })))
    }

    async fn wait(&self, request: Request<api::WaitRequest>) -> Answer<api::WaitResponse> {
        require_deployment(&request)?;
        let request = request.into_inner();
        let wanted = known("wait_for", request.wait_for)?;
        let malformed =
            || Status::from(Refusal::RequestInvalid("timeout has to be 0 or longer".into()));
        let at_most =
            request.timeout.map(Duration::try_from).transpose().map_err(|_| malformed())?;
        let id = id(&request.application_id)?;
        let wait = self.0.wait(
            &id,
            request.generation,
            wanted,
            &request.job_name,
            at_most.unwrap_or_default(),
        );
        let (application, met) = wait.await?;
        Ok(Response::new(api::WaitResponse { application: Some(application), met }))
    }

    async fn cancel(&self, request: Request<api::CancelRequest>) -> Answer<api::CancelResponse> {
        require_deployment(&request)?;
        let api::CancelRequest { application_id, generation, reason, requested_by } =
            request.into_inner();
        let (application, requested_earlier) =
            self.0.cancel(&id(&application_id)?, generation, &reason, &requested_by).await?;
        Ok(Response::new(api::CancelResponse { application: Some(application), requested_earlier }))
    }

    async fn request_savepoint(
        &self,
        request: Request<api::RequestSavepointRequest>,
    ) -> Answer<api::RequestSavepointResponse> {
        require_deployment(&request)?;
        let request = request.into_inner();
        let wish = api::SavepointWish {
            request_id: request.request_id,
            job: request.job,
            directory: request.directory,
            reason: request.reason,
            requested_by: request.requested_by,
            format: request.format,
            ..Default::default()
        };
        let (application, accepted_earlier) = self
            .0
            .ask_for_savepoints(&id(&request.application_id)?, request.generation, &wish)
            .await?;
        let application = Some(application);
        Ok(Response::new(api::RequestSavepointResponse { application, accepted_earlier }))
    }

    async fn stop(&self, request: Request<api::StopRequest>) -> Answer<api::StopResponse> {
        require_deployment(&request)?;
        let request = request.into_inner();
        let wish = api::SavepointWish {
            request_id: request.request_id,
            directory: request.directory,
            stop: true,
            drain: request.drain,
            reason: request.reason,
            requested_by: request.requested_by,
            format: request.format,
            ..Default::default()
        };
        let (application, accepted_earlier) = self
            .0
            .ask_for_savepoints(&id(&request.application_id)?, request.generation, &wish)
            .await?;
        Ok(Response::new(api::StopResponse { application: Some(application), accepted_earlier }))
    }

    async fn abandon(&self, request: Request<api::AbandonRequest>) -> Answer<api::AbandonResponse> {
        require_deployment(&request)?;
        let api::AbandonRequest { application_id, generation, reason, requested_by } =
            request.into_inner();
        let application =
            self.0.abandon(&id(&application_id)?, generation, &reason, &requested_by).await?;
        Ok(Response::new(api::AbandonResponse { application: Some(application) }))
    }

    async fn forget(&self, request: Request<api::ForgetRequest>) -> Answer<api::ForgetResponse> {
        require_deployment(&request)?;
        let api::ForgetRequest { application_id, generation, seen_revision, validate_only } =
            request.into_inner();
        let forgotten =
            self.0.forget(&id(&application_id)?, generation, seen_revision, validate_only).await?;
        Ok(Response::new(api::ForgetResponse {
            application_id: forgotten.application.id.to_string(),
            generation: forgotten.application.generation.get(),
            forgotten_earlier: forgotten.earlier,
        }))
    }

    type EventsStream = Answers<api::EventsResponse>;

    async fn events(&self, request: Request<api::EventsRequest>) -> Answer<Self::EventsStream> {
        require_deployment(&request)?;
        let request = request.into_inner();
        let id = id(&request.application_id)?;
        let events =
            self.0.events(&id, request.generation, request.after_event_id, request.follow).await?;
        Ok(Response::new(answers(events, |event| api::EventsResponse { event: Some(event) })))
    }

    type ReadLogsStream = Answers<api::ReadLogsResponse>;

    async fn read_logs(
        &self,
        request: Request<api::ReadLogsRequest>,
    ) -> Answer<Self::ReadLogsStream> {
        require_deployment(&request)?;
        let request = request.into_inner();
        let filter = LogFilter {
            roles: request.roles,
            attempt: request.attempt,
            since: time("since", request.since)?,
            until: time("until", request.until)?,
            tail: request.tail as usize,
            follow: request.follow,
        };
        let id = id(&request.application_id)?;
        let lines = self.0.read_logs(&id, request.generation, &request.cursor, filter).await?;
        Ok(Response::new(answers(lines, |lines| api::ReadLogsResponse { lines })))
    }

    type ReadResultStream = Answers<api::ReadResultResponse>;

    async fn read_result(
        &self,
        request: Request<api::ReadResultRequest>,
    ) -> Answer<Self::ReadResultStream> {
        require_deployment(&request)?;
        let request = request.into_inner();
        let rows =
            self.0.result(&id(&request.application_id)?, request.generation, &request.job).await?;
        let rows = futures::TryStreamExt::map_err(rows, Error::from);
        Ok(Response::new(answers(rows, |data| api::ReadResultResponse { data })))
    }

    async fn get_graph(
        &self,
        request: Request<api::GetGraphRequest>,
    ) -> Answer<api::GetGraphResponse> {
        require_deployment(&request)?;
        let request = request.into_inner();
        let (job, description) =
            self.0.graph(&id(&request.application_id)?, request.generation, &request.job).await?;
        Ok(Response::new(api::GetGraphResponse { job: Some(job), description: Some(description) }))
    }

    async fn get_version(
        &self,
        request: Request<api::GetVersionRequest>,
    ) -> Answer<api::GetVersionResponse> {
        require_deployment(&request)?;
        let (version, build, protocol) =
            (env!("CARGO_PKG_VERSION").into(), crate::build().into(), proto::PROTOCOL);
        Ok(Response::new(api::GetVersionResponse { version, build, protocol }))
    }
}
