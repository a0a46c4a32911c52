//! The transport of a context: the one place that decides what may go over the network, and how.

use std::sync::Arc;

use chassis::clock::SharedClock;
use chassis::transport::{self, Endpoint, InsecureNetwork, OsTransport, SharedTransport, Tls};

use super::file::{Context, TlsFiles};
use crate::failure::{Failure, OrFailure};

/// The transport for a context, or why there is none. Unix sockets of this machine need neither TLS
/// nor a word about plain text.
pub(super) fn of(context: &Context, clock: &SharedClock) -> OrFailure<SharedTransport> {
    match &context.tls {
        Some(files) => over_tls(context, files, clock),
        None if context.insecure => Ok(Arc::new(InsecureNetwork)),
        None if !is_on_the_network(context) => Ok(Arc::new(OsTransport)),
        None => {
            let text = format!(
                "context {} has neither tls nor insecure: true, and in plain text its credential could be read on the way",
                context.name
            );
            Err(Failure::usage(text).help(
                "give it tls with ca, cert and key; insecure: true is for networks that only you can reach",
            ))
        }
    }
}

/// Whether something of the context goes over TCP.
fn is_on_the_network(context: &Context) -> bool {
    context.endpoints.iter().any(|endpoint| matches!(endpoint, Endpoint::Tcp(..)))
}

/// Whether what goes over TCP can be read and changed on the way.
pub(super) fn is_plain(context: &Context) -> bool {
    context.tls.is_none() && is_on_the_network(context)
}

/// TCP under TLS, in which both sides show certificates.
fn over_tls(
    context: &Context,
    files: &TlsFiles,
    clock: &SharedClock,
) -> OrFailure<SharedTransport> {
    let TlsFiles { ca, cert, key } = files.clone();
    let files = transport::TlsFiles { ca, own: Some((cert, key)) };
    // Nothing but what TLS guards goes through the second transport, so that one may reach
    // anywhere.
    let tls = Tls::new(Arc::new(OsTransport), Arc::new(InsecureNetwork), files, clock.clone())
        .map_err(|error| Failure::usage(format!("context {}: {error}", context.name)))?;
    Ok(Arc::new(tls))
}

#[cfg(test)]
mod tests {
    use chassis::clock::SystemClock;

    use super::*;
    use crate::context::file::CredentialSource;

    fn context(endpoint: &str, insecure: bool, tls: bool) -> Context {
        let files = || TlsFiles { ca: "ca".into(), cert: "cert".into(), key: "key".into() };
        Context {
            name: "prod".into(),
            endpoints: vec![endpoint.parse().expect("an endpoint")],
            tls: tls.then(files),
            insecure,
            credential: CredentialSource { file: Some("/key".into()), command: None },
        }
    }

    #[test]
    fn plain_text_over_tcp_has_to_be_said() {
        let clock: SharedClock = Arc::new(SystemClock);
        for (endpoint, insecure, taken) in [
            ("tcp://127.0.0.1:7070", false, false),
            ("tcp://h1:7070", false, false),
            ("tcp://h1:7070", true, true),
            ("unix:/run/store.sock", false, true),
        ] {
            let of = of(&context(endpoint, insecure, false), &clock);
            assert_eq!(of.is_ok(), taken, "{endpoint} {insecure}");
            if let Err(refused) = of {
                assert!(refused.help[0].contains("insecure: true"), "{:?}", refused.help);
            }
        }
        assert!(is_plain(&context("tcp://h1:7070", true, false)));
        assert!(!is_plain(&context("unix:/run/store.sock", true, false)));
        assert!(!is_plain(&context("tcp://h1:7070", false, true)));
    }
}
