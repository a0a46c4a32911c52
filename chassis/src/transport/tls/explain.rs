//! What a failed handshake means, and the way out of it.

use std::io::{self, ErrorKind};
use std::path::Path;

use rustls::{AlertDescription as Alert, CertificateError as Bad, Error};

use super::super::Endpoint;
use super::files::TlsFiles;

/// The reason of an [`io::Error`] for a connection that TLS did not let come about. Nothing was
/// sent on it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Untrusted(String);

impl Untrusted {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    /// Whether this error, or a cause of it, is that TLS did not let a connection come about.
    pub fn is_cause_of(error: &(dyn std::error::Error + 'static)) -> bool {
        let mut cause = Some(error);
        while let Some(at) = cause {
            // What an `io::Error` is made of is not its source.
            let inner = at.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            if inner.is_some_and(|inner| inner.is::<Self>()) {
                return true;
            }
            cause = at.source();
        }
        false
    }
}

/// What is wrong with a certificate or a key, in a few words.
pub(super) fn text(error: &Error) -> String {
    let bad = match error {
        Error::InvalidCertificate(bad) => bad,
        Error::InconsistentKeys(_) => return "it is not the key of the certificate".to_owned(),
        other => return other.to_string(),
    };
    match bad {
        Bad::ExpiredContext { time, not_after } => {
            let ago = time.as_secs().saturating_sub(not_after.as_secs());
            format!("it expired {} ago, at {}", span(ago), instant(not_after.as_secs()))
        }
        Bad::Expired => "it has expired".to_owned(),
        Bad::NotValidYetContext { time, not_before } => {
            let wait = not_before.as_secs().saturating_sub(time.as_secs());
            format!(
                "it is valid in {} only, from {}: are the clocks of both machines right?",
                span(wait),
                instant(not_before.as_secs())
            )
        }
        Bad::NotValidYet => {
            "it is not valid yet: are the clocks of both machines right?".to_owned()
        }
        Bad::UnknownIssuer | Bad::BadSignature => "it is of another CA".to_owned(),
        Bad::NotValidForNameContext { expected, presented } if presented.is_empty() => {
            format!("it has no name, so it is not for {}", expected.to_str())
        }
        Bad::NotValidForNameContext { expected, presented } => {
            let names: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
            format!("it is for {}, not for {}", names.join(", "), expected.to_str())
        }
        Bad::InvalidPurposeContext { .. } | Bad::InvalidPurpose => {
            "it is for another purpose: a client's certificate cannot be a server's, nor one for \
             servers alone a client's"
                .to_owned()
        }
        other => other.to_string(),
    }
}

/// The error for the process's own certificate.
pub(super) fn of_own_certificate(path: &Path, ca: &Path, error: &Error) -> io::Error {
    let way_out = match error {
        Error::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature) => {
            format!("it has to be of a CA in {}", ca.display())
        }
        _ => "have it issued anew (mainspring certs issue); it is taken up by itself".to_owned(),
    };
    let why = format!("{}: {}; {way_out}", path.display(), text(error));
    io::Error::new(ErrorKind::InvalidData, Untrusted(why))
}

/// The client's error for a server that it could not come to an understanding with.
pub(super) fn of_server(endpoint: &Endpoint, files: &TlsFiles, error: &io::Error) -> io::Error {
    let told = |why: &str| format!("cannot connect to {endpoint} by TLS: {why}");
    let Some(cause) = cause(error) else {
        // The connection broke, as that of a server which ends does: no certificate is to blame.
        let text = match error.kind() {
            ErrorKind::UnexpectedEof => told("it ended the connection; its log may say why"),
            _ => told(&error.to_string()),
        };
        return io::Error::new(error.kind(), text);
    };
    let why = match cause {
        Error::InvalidCertificate(bad) => {
            let way_out = match bad {
                Bad::NotValidForNameContext { .. } => {
                    "use a name that it is for, or issue it for this one (mainspring certs issue \
                     NAME --san HOST)"
                        .to_owned()
                }
                Bad::UnknownIssuer | Bad::BadSignature => {
                    format!("it has to be of a CA in {}", files.ca.display())
                }
                Bad::NotValidYet | Bad::NotValidYetContext { .. } => "set the clocks".to_owned(),
                _ => "have it issued anew (mainspring certs issue); it is taken up by itself"
                    .to_owned(),
            };
            format!("its certificate is refused: {}; {way_out}", text(cause))
        }
        Error::AlertReceived(alert) => refused_by_it(*alert, files),
        Error::InvalidMessage(_) => {
            "it answers in plain text: is it a service of this deployment, and does it run with \
             --tls?"
                .to_owned()
        }
        other => other.to_string(),
    };
    io::Error::new(error.kind(), Untrusted(told(&why)))
}

/// What a server means by the alert with which it ends a handshake.
fn refused_by_it(alert: Alert, files: &TlsFiles) -> String {
    let own = match &files.own {
        Some((certificate, _)) => format!("the certificate {}", certificate.display()),
        None => "a connection without a certificate".to_owned(),
    };
    let why = match alert {
        Alert::CertificateRequired | Alert::NoCertificate => {
            return format!("it refuses {own}: it demands one of its deployment's CA (--tls DIR)");
        }
        Alert::UnknownCA | Alert::BadCertificate | Alert::DecryptError => "it is of another CA",
        Alert::CertificateExpired => "it has expired, or the server's clock is wrong",
        Alert::UnsupportedCertificate => "it is not for a client",
        Alert::CertificateRevoked => "it is revoked",
        other => return format!("it ends the handshake with {other:?}; its log says why"),
    };
    format!("it refuses {own}: {why}")
}

/// Why a server did not take a connection, for its log; `None` for a peer that only looked whether
/// the server listens.
pub(super) fn of_client(error: &io::Error) -> Option<String> {
    let cause = cause(error)?;
    Some(match cause {
        Error::NoCertificatesPresented => "it has no certificate".to_owned(),
        Error::InvalidCertificate(_) => format!("its certificate is refused: {}", text(cause)),
        Error::InvalidMessage(_) => "it does not speak TLS".to_owned(),
        Error::AlertReceived(alert) => format!("it ends the handshake with {alert:?}"),
        other => other.to_string(),
    })
}

fn cause(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref::<Error>()
}

/// A name as people write it: rustls says of which kind it is, as in `DnsName("a.example")`.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

/// An instant of the wall clock, as RFC 3339 writes it.
fn instant(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    prost_types::Timestamp { seconds, nanos: 0 }.to_string()
}

/// A span of time, by its largest unit.
fn span(seconds: u64) -> String {
    let (number, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}
