//! `http` and `https`, with bounded redirects, with a bound on silence, and going on after a cut.

use std::error::Error as _;
use std::time::Duration;

use async_trait::async_trait;
use chassis::clock::{SharedClock, timeout};
use futures::StreamExt as _;
use reqwest::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE,
};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response, StatusCode};

use super::{Broken, OpenError, Opened, Source};
use crate::error::FetchError;
use crate::model::{Location, shown};

/// The longest chain of redirects that is followed.
const MAX_REDIRECTS: usize = 5;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a server may be silent, before its answer and within it.
const STALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Downloads over HTTP. All downloads share one client, which keeps connections for a while.
pub struct HttpSource {
    client: Client,
    clock: SharedClock,
}

/// Why a redirect was not followed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

impl HttpSource {
    /// A source with the machine's certificate roots and proxies.
    pub fn new(clock: SharedClock) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(Policy::custom(judge))
            .user_agent(concat!("mainspring/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, clock })
    }
}

/// Follows a redirect unless it loops, never ends, or gives up encryption.
fn judge(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let target = attempt.url();
    let refuse = if attempt.previous().contains(target) {
        Some(format!("in a loop: {} comes back", shown(target)))
    } else if attempt.previous().len() > MAX_REDIRECTS {
        Some(format!("more than {MAX_REDIRECTS} times, at last to {}", shown(target)))
    } else if attempt.previous().last().is_some_and(|from| from.scheme() == "https")
        && target.scheme() != "https"
    {
        Some(format!("from https to {}: {}", target.scheme(), shown(target)))
    } else {
        None
    };
    match refuse {
        Some(why) => attempt.error(Refused(why)),
        None => attempt.follow(),
    }
}

#[async_trait]
impl Source for HttpSource {
    async fn open(
        &self,
        location: &Location,
        offset: u64,
        validator: Option<&str>,
    ) -> Result<Opened, OpenError> {
        let Location::Http(url) = location else {
            let why = "it is no web address".to_owned();
            return Err(OpenError::Final(FetchError::UriInvalid {
                uri: location.to_string(),
                why,
            }));
        };
        // The bytes are digested as they are stored, so the server may not encode them.
        let mut request = self.client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        if let (1.., Some(validator)) = (offset, validator) {
            request = request.header(RANGE, format!("bytes={offset}-")).header(IF_RANGE, validator);
        }
        let answered = timeout(&self.clock, STALL_TIMEOUT, request.send()).await;
        let response = answered
            .map_err(|_| OpenError::Passing(format!("no answer for {STALL_TIMEOUT:?}")))?
            .map_err(|error| failure(location, &error))?;
        judge_status(location, response.status())?;
        Ok(self.opened(response, offset))
    }
}

impl HttpSource {
    fn opened(&self, response: Response, asked_offset: u64) -> Opened {
        let header = |name| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let goes_on = response.status() == StatusCode::PARTIAL_CONTENT
            && header(CONTENT_RANGE)
                .is_some_and(|range| range.starts_with(&format!("bytes {asked_offset}-")));
        let offset = if goes_on { asked_offset } else { 0 };
        let size_bytes = response.content_length().map(|left| offset + left);
        // Weak validators do not promise equal bytes.
        let strong_etag = header(ETAG).filter(|etag| !etag.starts_with("W/"));
        let ranges = goes_on || header(ACCEPT_RANGES).is_some_and(|unit| unit == "bytes");
        let validator = strong_etag.or_else(|| header(LAST_MODIFIED)).filter(|_| ranges);
        let clock = self.clock.clone();
        let chunks = response.bytes_stream().boxed();
        let body = futures::stream::try_unfold(chunks, move |mut chunks| {
            let clock = clock.clone();
            async move {
                let chunk = timeout(&clock, STALL_TIMEOUT, chunks.next())
                    .await
                    .map_err(|_| Broken(format!("no byte for {STALL_TIMEOUT:?}")))?;
                match chunk {
                    None => Ok(None),
                    Some(Ok(bytes)) => Ok(Some((bytes, chunks))),
                    Some(Err(error)) => Err(Broken(root_cause(&error))),
                }
            }
        });
        Opened { size_bytes, offset, validator, body: body.boxed() }
    }
}

fn judge_status(location: &Location, status: StatusCode) -> Result<(), OpenError> {
    let (uri, why) = (location.to_string(), format!("the server answered {status}"));
    match status {
        _ if status.is_success() => Ok(()),
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            Err(OpenError::Final(FetchError::NotFound { uri, why }))
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Err(OpenError::Passing(why)),
        _ if status.is_server_error() => Err(OpenError::Passing(why)),
        _ => Err(OpenError::Final(FetchError::NotReadable { uri, why })),
    }
}

fn failure(location: &Location, error: &reqwest::Error) -> OpenError {
    if error.is_redirect() {
        let why = root_cause(error);
        return OpenError::Final(FetchError::Redirects { uri: location.to_string(), why });
    }
    if error.is_builder() {
        let why = root_cause(error);
        return OpenError::Final(FetchError::UriInvalid { uri: location.to_string(), why });
    }
    OpenError::Passing(root_cause(error))
}

/// The innermost cause: what the network said, without the address, which may hold secrets.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = match error.source() {
        Some(source) => source,
        None => return error.to_string(),
    };
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
