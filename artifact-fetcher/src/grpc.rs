//! The wire: messages become verbs and verbs answers, errors become codes. The deployment may call
//! everything, and a contender may fetch and release for its own application.

mod status;

use std::cmp::Reverse;
use std::path::PathBuf;
use std::time::Duration;

use chassis::MAX_MESSAGE_BYTES;
use chassis::server::{require_deployment, require_own};
use chassis::tasks::fed;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use prost_types::Timestamp;
use proto::artifact::artifact_service_server::{ArtifactService, ArtifactServiceServer};
use proto::artifact::{
    Artifact, EvictRequest, EvictResponse, FetchProgress, FetchRequest, FetchResponse, Fetched,
    ListRequest, ListResponse, ReadRequest, ReadResponse, ReleaseRequest, ReleaseResponse,
    StatRequest, StatResponse, fetch_response,
};
use proto::{ApplicationRef, Digest, fences};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::cache::ArtifactFacts;
use crate::error::FetchError;
use crate::service::{self, Fetcher, Progress, Wanted};

/// How many artifacts one answer of `List` has: by default and at most.
const PAGE: (usize, usize) = (100, 1000);

/// The service's methods.
pub fn routes(fetcher: Fetcher) -> Routes {
    let service = ArtifactServiceServer::new(Grpc { fetcher })
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    Routes::new(service)
}

struct Grpc {
    fetcher: Fetcher,
}

#[tonic::async_trait]
impl ArtifactService for Grpc {
    type FetchStream = BoxStream<'static, Result<FetchResponse, Status>>;
    type ReadStream = BoxStream<'static, Result<ReadResponse, Status>>;

    async fn fetch(
        &self,
        request: Request<FetchRequest>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        let application = request.get_ref().application.clone();
        match application
            .map(ApplicationRef::try_from)
            .transpose()
            .map_err(FetchError::Malformed)?
        {
            Some(application) => require_own(&request, &application)?,
            // A fetch for no application is tooling's, and only the deployment may ask for it.
            None => require_deployment(&request)?,
        }
        let wanted = wanted(request.into_inner())?;
        let fetcher = self.fetcher.clone();
        // The answers are bounded by the transfer's own deadline, and cut when the caller leaves.
        let answers = fed("fetch", 8, |feed| async move {
            // A reader that is slow misses some progress, never the end.
            let progress =
                |now: Progress| feed.offer(item(fetch_response::Message::Progress(now.into())));
            let fetched = fetcher.fetch(&wanted, progress).await?;
            feed.send(item(fetch_response::Message::Fetched(fetched.into()))).await;
            Ok::<(), Status>(())
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn read(
        &self,
        request: Request<ReadRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        require_deployment(&request)?;
        let request = request.into_inner();
        let parts =
            self.fetcher.read(digest(&request.digest)?, request.offset, request.length).await?;
        let answers = parts.map(|part| Ok(ReadResponse { data: part? }));
        Ok(Response::new(answers.boxed()))
    }

    async fn stat(&self, request: Request<StatRequest>) -> Result<Response<StatResponse>, Status> {
        require_deployment(&request)?;
        let fetched = self.fetcher.stat(digest(&request.into_inner().digest)?).await?;
        let facts = fetched.kept.facts.clone();
        let users = self.fetcher.users(facts.digest).await?;
        let path = fetched.path.display().to_string();
        Ok(Response::new(StatResponse { artifact: Some(artifact(facts, &users)), path }))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        require_deployment(&request)?;
        let request = request.into_inner();
        let all = self.fetcher.list().await?;
        let cache_bytes = all.iter().map(|(facts, _)| facts.size_bytes).sum();
        let asked = usize::try_from(request.page_size).unwrap_or(PAGE.1);
        let size = if asked == 0 { PAGE.0 } else { asked.min(PAGE.1) };
        // The token says where the last artifact of the page before stood, also when that artifact
        // has been evicted since.
        let start = match request.page_token.as_str() {
            "" => 0,
            token => {
                let after =
                    position(token).ok_or_else(|| FetchError::PageToken(token.to_owned()))?;
                all.partition_point(|(facts, _)| (Reverse(facts.used_at), facts.digest) <= after)
            }
        };
        let page: Vec<_> = all.iter().skip(start).take(size).collect();
        let more = start + page.len() < all.len();
        let last =
            page.last().map(|(facts, _)| format!("{}:{}", facts.used_at, facts.digest.to_hex()));
        Ok(Response::new(ListResponse {
            artifacts: page.iter().map(|(facts, users)| artifact(facts.clone(), users)).collect(),
            next_page_token: last.filter(|_| more).unwrap_or_default(),
            cache_bytes,
            cache_limit_bytes: self.fetcher.limit_bytes(),
        }))
    }

    async fn evict(
        &self,
        request: Request<EvictRequest>,
    ) -> Result<Response<EvictResponse>, Status> {
        require_deployment(&request)?;
        let request = request.into_inner();
        let (evicted, kept) = if request.digests.is_empty() {
            (self.fetcher.evict_to(request.to_bytes).await?, Vec::new())
        } else {
            let digests =
                request.digests.iter().map(|text| digest(text)).collect::<Result<_, _>>()?;
            self.fetcher.evict(digests).await?
        };
        let words = |digests: Vec<Digest>| digests.into_iter().map(String::from).collect();
        Ok(Response::new(EvictResponse { evicted: words(evicted), kept: words(kept) }))
    }

    async fn release(
        &self,
        request: Request<ReleaseRequest>,
    ) -> Result<Response<ReleaseResponse>, Status> {
        let application = request.get_ref().application.clone();
        let application: ApplicationRef = application.try_into().map_err(FetchError::Malformed)?;
        require_own(&request, &application)?;
        self.fetcher.release(application).await?;
        Ok(Response::new(ReleaseResponse {}))
    }
}

/// Where in the list a page token points.
fn position(token: &str) -> Option<(Reverse<u128>, Digest)> {
    let (used_at, hex) = token.split_once(':')?;
    Some((Reverse(used_at.parse().ok()?), format!("sha256:{hex}").parse().ok()?))
}

fn wanted(request: FetchRequest) -> Result<Wanted, FetchError> {
    let expected = Some(request.expected_digest)
        .filter(|text| !text.is_empty())
        .map(|text| text.parse())
        .transpose()?;
    let link_to = Some(request.link_to).filter(|path| !path.is_empty()).map(PathBuf::from);
    if link_to.as_ref().is_some_and(|path| !path.is_absolute()) {
        return Err(FetchError::Request {
            field: "link_to",
            why: "it has to be an absolute path".into(),
        });
    }
    Ok(Wanted {
        application: request.application.map(ApplicationRef::try_from).transpose()?,
        uri: request.uri.into(),
        expected,
        link_to,
        executable: request.executable,
    })
}

fn digest(text: &str) -> Result<Digest, FetchError> {
    Ok(text.parse()?)
}

fn item(message: fetch_response::Message) -> FetchResponse {
    FetchResponse { message: Some(message) }
}

impl From<Progress> for FetchProgress {
    fn from(progress: Progress) -> Self {
        Self {
            bytes_done: progress.bytes_done,
            bytes_total: progress.bytes_total.unwrap_or_default(),
            attempt: progress.attempt,
        }
    }
}

impl From<service::Fetched> for Fetched {
    fn from(fetched: service::Fetched) -> Self {
        let path = fetched.path.display().to_string();
        Self {
            artifact: Some(artifact(fetched.kept.facts, &[])),
            path,
            from_cache: fetched.from_cache,
        }
    }
}

fn artifact(facts: ArtifactFacts, users: &[String]) -> Artifact {
    let user = |text: &String| {
        let (id, generation) = text.rsplit_once('@')?;
        Some(fences::ApplicationRef {
            application_id: id.to_owned(),
            generation: generation.parse().ok()?,
        })
    };
    Artifact {
        digest: facts.digest.to_string(),
        size_bytes: facts.size_bytes,
        fetched_at: timestamp(facts.fetched_at),
        used_at: timestamp(facts.used_at),
        uri: facts.uri,
        used_by: users.iter().filter_map(user).collect(),
    }
}

/// The time as a timestamp; `None` for 0, because a file that is not in the cache has no such
/// times.
fn timestamp(unix_nanos: u128) -> Option<Timestamp> {
    let nanos = u64::try_from(unix_nanos).ok().filter(|nanos| *nanos > 0)?;
    let since = Duration::from_nanos(nanos);
    Some(Timestamp {
        seconds: i64::try_from(since.as_secs()).ok()?,
        nanos: i32::try_from(since.subsec_nanos()).ok()?,
    })
}
