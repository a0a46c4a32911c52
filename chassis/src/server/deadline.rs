//! Every unary call has a deadline: the caller's, or a default. Streams last as long as both sides
//! want.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use proto::{Problem, Reason};

use super::Call;
use super::around::{Answering, Around, Below};
use crate::clock::{SharedClock, timeout};

/// How long a unary call may take when its caller set no deadline.
pub const UNARY_DEADLINE: Duration = Duration::from_secs(30);

/// The longest deadline that a caller gets, even if it asked for a longer one.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone)]
pub(super) struct Deadline {
    clock: SharedClock,
    unary: Arc<HashSet<String>>,
    default: Duration,
}

impl Deadline {
    /// `unary` are the paths of the methods that get a deadline.
    pub(super) fn new(clock: SharedClock, unary: Arc<HashSet<String>>, default: Duration) -> Self {
        Self { clock, unary, default }
    }
}

impl Around for Deadline {
    fn around<S: Below>(&self, below: &mut S, call: Call) -> Answering {
        let method = call.uri().path();
        if !self.unary.contains(method) {
            return Box::pin(below.call(call));
        }
        let after = of_caller(call.headers()).unwrap_or(self.default).min(LONGEST);
        let (method, clock) = (method.to_owned(), self.clock.clone());
        let answer = below.call(call);
        Box::pin(async move {
            timeout(&clock, after, answer).await.unwrap_or_else(|_| {
                let text = format!(
                    "{method} took longer than {after:?}; what it did is unknown, read before trying again"
                );
                Ok(Problem::new(Reason::TimedOut, text).into_status().into_http())
            })
        })
    }
}

/// The caller's `grpc-timeout`: at most eight digits and a unit. A malformed one counts as none.
fn of_caller(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_deadline_is_read_and_a_malformed_one_is_none() {
        for (text, deadline) in [
            ("5S", Some(Duration::from_secs(5))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("1M", Some(Duration::from_secs(60))),
            ("250m", Some(Duration::from_millis(250))),
            ("7u", Some(Duration::from_micros(7))),
            ("0n", Some(Duration::ZERO)),
            ("", None),
            ("S", None),
            ("5", None),
            ("5s", None),
            ("-5S", None),
            ("+5S", None),
            ("100000000S", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", http::HeaderValue::from_static(text));
            assert_eq!(of_caller(&headers), deadline, "{text}");
        }
    }
}
