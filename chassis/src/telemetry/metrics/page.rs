//! One page of numbers for Prometheus, made of the texts of several processes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use http::{Method, Request, Response, StatusCode, header};
use tower::service_fn;

use crate::BoxError;
use crate::clock::SharedClock;
use crate::http::{Body, endpoint, full, serve as serve_http};
use crate::tasks::Shutdown;
use crate::transport::{Endpoint, Incoming};

/// The variable of the setting.
pub const VARIABLE: &str = "MAINSPRING_METRICS_LISTEN";

/// The path that Prometheus asks for unless it is told another one.
const PATH: &str = "/metrics";

/// Where a process shows its numbers.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PageArgs {
    /// Show numbers for Prometheus at http://HOST:PORT/metrics, to everybody who can connect
    #[arg(
        long,
        env = VARIABLE,
        value_name = "HOST:PORT",
        value_parser = address,
        global = true,
        help_heading = "Metrics"
    )]
    pub metrics_listen: Option<Endpoint>,
}

fn address(text: &str) -> Result<Endpoint, String> {
    endpoint(text).ok_or_else(|| "HOST:PORT is expected, such as 0.0.0.0:9464".to_owned())
}

/// The media type of the text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The lines of one family, which have to stand together.
#[derive(Default)]
struct Family<'a> {
    help: Option<&'a str>,
    kind: Option<&'a str>,
    samples: Vec<&'a str>,
}

/// One text of several processes' texts: a family that more than one of them has stands there once,
/// with the samples of all.
pub fn merge(texts: &[String]) -> String {
    let mut families: BTreeMap<&str, Family<'_>> = BTreeMap::new();
    for text in texts {
        let mut name = "";
        for line in text.lines().filter(|line| !line.is_empty()) {
            let mut words = line.splitn(4, ' ');
            match (words.next(), words.next(), words.next()) {
                (Some("#"), Some("HELP"), Some(of)) => {
                    name = of;
                    families.entry(name).or_default().help.get_or_insert(line);
                }
                (Some("#"), Some("TYPE"), Some(of)) => {
                    name = of;
                    families.entry(name).or_default().kind.get_or_insert(line);
                }
                _ => families.entry(name).or_default().samples.push(line),
            }
        }
    }
    let mut page = String::new();
    for family in families.values() {
        let head = family.help.into_iter().chain(family.kind);
        for line in head.chain(family.samples.iter().copied()) {
            // Writing into a text cannot fail.
            let _ = writeln!(page, "{line}");
        }
    }
    page
}

/// Serves the page until the shutdown begins. `gather` answers it, as often as it is asked for.
pub async fn serve<G, F>(
    incoming: Incoming,
    gather: G,
    clock: SharedClock,
    shutdown: Shutdown,
) -> Result<(), BoxError>
where
    G: Fn() -> F + Clone + Send + 'static,
    F: Future<Output = String> + Send,
{
    let page = service_fn(move |request: Request<hyper::body::Incoming>| {
        let gather = gather.clone();
        async move {
            let answer = answer(request.method(), request.uri().path(), gather).await;
            Ok::<_, BoxError>(answer)
        }
    });
    serve_http(incoming, page, clock, shutdown).await
}

async fn answer<F>(method: &Method, path: &str, gather: impl Fn() -> F) -> Response<Body>
where
    F: Future<Output = String>,
{
    let (status, body) = match (method, path) {
        (&Method::GET, PATH) => (StatusCode::OK, gather().await),
        (&Method::GET, _) => (StatusCode::NOT_FOUND, format!("the numbers are at {PATH}\n")),
        _ => (StatusCode::METHOD_NOT_ALLOWED, format!("GET {PATH}\n")),
    };
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(TEXT));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_of_two_processes_stands_there_once_with_the_samples_of_both() {
        let of = |service: &str| {
            format!(
                "# HELP calls_total Calls.\n# TYPE calls_total counter\n\
                 calls_total{{service_name=\"{service}\"}} 1\n"
            )
        };
        let gauge = "# TYPE room gauge\nroom 7\n".to_owned();
        let page = merge(&[of("b"), gauge, of("a")]);
        let lines: Vec<&str> = page.lines().collect();
        assert_eq!(
            lines,
            [
                "# HELP calls_total Calls.",
                "# TYPE calls_total counter",
                "calls_total{service_name=\"b\"} 1",
                "calls_total{service_name=\"a\"} 1",
                "# TYPE room gauge",
                "room 7",
            ]
        );
    }

    #[test]
    fn a_histogram_stays_below_its_name() {
        let text = "# TYPE took histogram\ntook_bucket{le=\"1\"} 1\ntook_sum 0.5\ntook_count 1\n";
        assert_eq!(merge(&[text.to_owned()]), text);
    }
}
