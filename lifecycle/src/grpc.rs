//! The wire: messages become nouns and errors statuses; nothing else happens here.

mod read;
mod status;

use std::pin::Pin;
use std::time::Duration;

use chassis::server::{require_deployment, require_own};
use client::places::Kind;
use futures::Stream;
use proto::lifecycle::lifecycle_service_server::{LifecycleService, LifecycleServiceServer};
use proto::lifecycle::{
    ClusterReady, ListProcessesRequest, ListProcessesResponse, ProcessStatus,
    ProvisionContendersRequest, ProvisionContendersResponse, ProvisionRequest, ProvisionResponse,
    RoleState, RoleStatus, TeardownContendersRequest, TeardownContendersResponse, TeardownRequest,
    TeardownResponse, WatchClusterRequest, WatchClusterResponse, provision_response,
};
use proto::{ApplicationRef, EpochFence, Incarnation};
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::{Request, Response, Status as Refusal};

use crate::error::Error;
use crate::model::{Addresses, Fate, GroupId, Phase, State, Status, phase};
use crate::service::{Contenders, DEFAULT_GRACE, Group, Lifecycle, Provision};
use read::{incarnation, invalid, read_commit, read_contender, read_role};

/// The service's methods.
pub fn routes(service: Lifecycle) -> Routes {
    let service = LifecycleServiceServer::new(Grpc { service })
        .max_decoding_message_size(chassis::MAX_MESSAGE_BYTES)
        .max_encoding_message_size(chassis::MAX_MESSAGE_BYTES);
    Routes::new(service)
}

struct Grpc {
    service: Lifecycle,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Refusal>> + Send>>;

#[tonic::async_trait]
impl LifecycleService for Grpc {
    type ProvisionStream = Answers<ProvisionResponse>;
    type WatchClusterStream = Answers<WatchClusterResponse>;

    async fn provision(
        &self,
        request: Request<ProvisionRequest>,
    ) -> Result<Response<Self::ProvisionStream>, Refusal> {
        let fence = led(&request, request.get_ref().fence.clone())?;
        let request = request.into_inner();
        let incarnation = incarnation(request.incarnation)?;
        let is_ungated = read_commit(request.commit)?;
        let roles = request.roles.into_iter().enumerate();
        let roles = roles.map(|(index, role)| read_role(index, role, is_ungated));
        let roles = roles.collect::<Result<_, _>>()?;
        let wish = Provision {
            fence: fence.clone(),
            incarnation,
            roles,
            traceparent: request.traceparent,
        };
        let group = self.service.provision(wish).await?;
        let wished = (fence, incarnation);
        Ok(Response::new(Box::pin(follow(&group, wished))))
    }

    async fn watch_cluster(
        &self,
        request: Request<WatchClusterRequest>,
    ) -> Result<Response<Self::WatchClusterStream>, Refusal> {
        let application = application(request.get_ref().application.clone())?;
        require_own(&request, &application)?;
        let request = request.into_inner();
        let number = incarnation(request.incarnation)?.get();
        let group =
            self.service.find(&GroupId { application, kind: Kind::Cluster, number }).await?;
        let board = match group {
            Some(group) => group.watch(),
            // An incarnation without processes is gone.
            None => watch::channel(Vec::new()).1,
        };
        Ok(Response::new(Box::pin(watch_board(board))))
    }

    async fn teardown(
        &self,
        request: Request<TeardownRequest>,
    ) -> Result<Response<TeardownResponse>, Refusal> {
        let fence = led(&request, request.get_ref().fence.clone())?;
        let request = request.into_inner();
        let incarnation = incarnation(request.incarnation)?;
        let grace = request.grace.map_or(Ok(DEFAULT_GRACE), Duration::try_from);
        let grace = grace.map_err(|error| invalid("grace", error))?;
        let leftovers = self.service.teardown(&fence, incarnation, grace).await?;
        Ok(Response::new(TeardownResponse { leftovers }))
    }

    async fn provision_contenders(
        &self,
        request: Request<ProvisionContendersRequest>,
    ) -> Result<Response<ProvisionContendersResponse>, Refusal> {
        require_deployment(&request)?;
        let request = request.into_inner();
        let application = application(request.application)?;
        let role = read_contender(request.role, request.done_exit_codes, request.wish)?;
        let wish = Contenders {
            application,
            count: request.count,
            role,
            traceparent: request.traceparent,
        };
        let contenders = self.service.provision_contenders(wish).await?;
        let contenders = contenders.into_iter().map(wire_status).collect();
        Ok(Response::new(ProvisionContendersResponse { contenders }))
    }

    async fn teardown_contenders(
        &self,
        request: Request<TeardownContendersRequest>,
    ) -> Result<Response<TeardownContendersResponse>, Refusal> {
        require_deployment(&request)?;
        let application = application(request.into_inner().application)?;
        let leftovers = self.service.teardown_contenders(&application).await?;
        Ok(Response::new(TeardownContendersResponse { leftovers }))
    }

    async fn list_processes(
        &self,
        request: Request<ListProcessesRequest>,
    ) -> Result<Response<ListProcessesResponse>, Refusal> {
        require_deployment(&request)?;
        let wanted = request.into_inner().application;
        let wanted = wanted.map(|wanted| application(Some(wanted))).transpose()?;
        let processes = self.service.list(wanted.as_ref()).await?;
        let processes = processes.into_iter().map(|(group, status)| ProcessStatus {
            application: Some(group.application.into()),
            kind: group.kind.as_str().to_owned(),
            number: group.number,
            status: Some(wire_status(status)),
        });
        Ok(Response::new(ListProcessesResponse { processes: processes.collect() }))
    }
}

/// The fence of a leader's order, once the caller is known to be of the application that the order
/// is about.
fn led<T>(
    request: &Request<T>,
    fence: Option<proto::fences::EpochFence>,
) -> Result<EpochFence, Refusal> {
    let fence = EpochFence::try_from(fence).map_err(|error| invalid("fence", error))?;
    require_own(request, &fence.application)?;
    Ok(fence)
}

fn application(wire: Option<proto::fences::ApplicationRef>) -> Result<ApplicationRef, Refusal> {
    ApplicationRef::try_from(wire).map_err(|error| invalid("application", error))
}

/// What a caller was told of a board, and what is left to tell.
struct Follower {
    board: watch::Receiver<Vec<Status>>,
    addresses: Addresses,
    /// The leader that asked, and the incarnation that it asked for.
    wished: (EpochFence, Incarnation),
    told: Vec<Status>,
    ended: bool,
}

/// Tells the progress of each process, then `Ready`, or the refusal that says why the group will
/// not be ready.
fn follow(
    group: &Group,
    wished: (EpochFence, Incarnation),
) -> impl Stream<Item = Result<ProvisionResponse, Refusal>> + use<> {
    let (board, addresses) = (group.watch(), group.addresses());
    let follower = Follower { board, addresses, wished, told: Vec::new(), ended: false };
    futures::stream::unfold(follower, |mut follower| async move {
        let answer = follower.next().await?;
        Some((answer, follower))
    })
}

impl Follower {
    async fn next(&mut self) -> Option<Result<ProvisionResponse, Refusal>> {
        if self.ended {
            return None;
        }
        loop {
            let statuses = self.board.borrow_and_update().clone();
            let news = statuses.iter().find(|&status| !self.told.contains(status)).cloned();
            if let Some(news) = news {
                self.told.retain(|told| told.name() != news.name());
                self.told.push(news.clone());
                let item = Some(provision_response::Item::Role(wire_status(news)));
                return Some(Ok(ProvisionResponse { item }));
            }
            match phase(&statuses) {
                Phase::Starting => {}
                Phase::Ready => {
                    self.ended = true;
                    let jobs_endpoint = statuses
                        .iter()
                        .find(|s| s.serves_jobs)
                        .map(|s| s.endpoint.clone())
                        .unwrap_or_default();
                    let roles = statuses.into_iter().map(wire_status).collect();
                    let addresses = std::mem::take(&mut self.addresses).into_iter().collect();
                    let ready = ClusterReady { jobs_endpoint, roles, addresses };
                    return Some(Ok(ProvisionResponse {
                        item: Some(provision_response::Item::Ready(ready)),
                    }));
                }
                Phase::Failed | Phase::Gone => {
                    self.ended = true;
                    return Some(Err(why_failed(&statuses, &self.wished).into()));
                }
            }
            if self.board.changed().await.is_err() {
                self.ended = true;
                return Some(Err(Error::ShuttingDown.into()));
            }
        }
    }
}

/// Why a group will not become ready.
fn why_failed(statuses: &[Status], (fence, incarnation): &(EpochFence, Incarnation)) -> Error {
    for status in statuses {
        let status = Box::new(status.clone());
        match &status.fate {
            Fate::Failed => return role_exited(status, statuses),
            Fate::NotReady(within) => {
                let within = *within;
                return Error::RoleNotReady { status, within };
            }
            Fate::Superseded(shown, _) if *shown < fence.epoch.get() => {
                let text =
                    "the cluster was being started for an earlier leader; ask again".to_owned();
                return Error::RecordAway(text);
            }
            Fate::Superseded(_, current) => {
                return Error::EpochSuperseded { fence: fence.clone(), current: *current };
            }
            Fate::Over(current) => {
                return Error::IncarnationSuperseded {
                    application: fence.application.clone(),
                    incarnation: *incarnation,
                    current: Incarnation(*current),
                };
            }
            Fate::Elsewhere(why) => return Error::IncarnationElsewhere(why.clone()),
            Fate::Open | Fate::Done | Fate::GaveUp | Fate::Stopped => {}
        }
    }
    match statuses.first() {
        Some(status) => role_exited(Box::new(status.clone()), statuses),
        None => Error::ShuttingDown,
    }
}

fn role_exited(status: Box<Status>, all: &[Status]) -> Error {
    let died = all.iter().filter(|other| other.name() != status.name() && other.deaths() > 0);
    let others = died.map(|other| format!("{} {}", other.name(), other.last_exit())).collect();
    Error::RoleExited { status, others }
}

/// Tells of all processes, again after each change, until nothing is left.
fn watch_board(
    board: watch::Receiver<Vec<Status>>,
) -> impl Stream<Item = Result<WatchClusterResponse, Refusal>> {
    futures::stream::unfold((board, true), |(mut board, first)| async move {
        if !first {
            let gone = phase(&board.borrow()) == Phase::Gone;
            if gone || board.changed().await.is_err() {
                return None;
            }
        }
        let statuses = board.borrow_and_update().clone();
        let phase = phase(&statuses);
        let answer = WatchClusterResponse {
            roles: statuses.into_iter().map(wire_status).collect(),
            failed: phase == Phase::Failed,
            gone: phase == Phase::Gone,
        };
        Some((Ok(answer), (board, false)))
    })
}

fn wire_status(status: Status) -> RoleStatus {
    let state = match status.state {
        State::Starting => RoleState::Starting,
        State::Ready => RoleState::Ready,
        State::Exited => RoleState::Exited,
    };
    let exit = status.exit.as_ref().filter(|_| status.state == State::Exited);
    let (deaths, last_exit) = (status.deaths(), status.last_exit());
    RoleStatus {
        role: status.role,
        replica: status.replica,
        state: state.into(),
        pid: status.pid,
        starts: status.starts,
        exit: exit.map(ToString::to_string).unwrap_or_default(),
        exit_code: exit.and_then(|exit| exit.code),
        stderr_tail: status.last_words.stderr_tail,
        endpoint: status.endpoint,
        gave_up: status.fate == Fate::GaveUp,
        deaths,
        last_exit,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use client::places::Kind;
    use client::tether::{Exit, LastWords};
    use proto::Generation;

    use super::*;
    use crate::model::{GroupId, Slot};

    fn died(role: &str, error: &str) -> Status {
        let application =
            ApplicationRef { id: "orders".parse().unwrap(), generation: Generation(4) };
        let group = GroupId { application, kind: Kind::Cluster, number: 1 };
        let slot = Slot { group, role: role.into(), replica: 0 };
        let exit = (!error.is_empty()).then(|| Exit { code: Some(1), ..Exit::default() });
        let last_words = LastWords { error: error.into(), ..LastWords::default() };
        let state = if exit.is_some() { State::Exited } else { State::Ready };
        Status { state, exit, last_words, ..Status::new(&slot, 1, String::new()) }
    }

    #[test]
    fn a_cluster_that_is_given_up_names_all_of_its_processes_that_had_died() {
        let all =
            [died("jobs", "nobody came"), died("taskmanager", "no memory"), died("jobmanager", "")];
        let told = role_exited(Box::new(all[0].clone()), &all).to_string();
        let expected = "jobs-0 exited before the cluster was ready: exit code 1 (nobody came); \
                        taskmanager-0 exit code 1 (no memory)";
        assert_eq!(told, expected);
    }
}
