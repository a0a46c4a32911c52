//! Who calls: this layer verifies the credential, asks the table whether it opens the method, and
//! leaves the [`Principal`] in the request's extensions.

use std::future::ready;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use proto::{Problem, Reason};
use tonic::Status;

use super::around::{Answering, Around, Below};
use super::authorize::may_enter;
use super::{Call, Reply};
use crate::credential::{Credential, DeploymentKey, Principal};

/// Verifies credentials: with the deployment's key, or against the one token that the process was
/// given.
#[derive(Debug, Clone)]
pub struct Authenticator {
    trusted: Trusted,
}

#[derive(Debug, Clone)]
enum Trusted {
    Key(DeploymentKey),
    Token(Credential),
}

impl Authenticator {
    /// Takes every credential that was minted with this key.
    pub fn new(key: DeploymentKey) -> Self {
        Self { trusted: Trusted::Key(key) }
    }

    /// Takes exactly this token: for processes that must not have the key (runners, tethers,
    /// engines). What the token says is not verified, because its holder was given it at birth.
    pub fn holding(token: Credential) -> Self {
        Self { trusted: Trusted::Token(token) }
    }

    fn verify(&self, token: &str) -> Option<Principal> {
        match &self.trusted {
            Trusted::Key(key) => key.verify(token),
            Trusted::Token(held) => held.matches(token).then(|| held.claims()).flatten(),
        }
    }

    /// The principal that sent these headers.
    fn principal(&self, headers: &HeaderMap) -> Result<Principal, Status> {
        let refuse = |reason, text: &str| Problem::new(reason, text).into_status();
        let value = headers.get(AUTHORIZATION).ok_or_else(|| {
            refuse(
                Reason::CredentialMissing,
                "the call carries no credential: send authorization: Bearer <token>",
            )
        })?;
        let token = value.to_str().ok().and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        token.and_then(|token| self.verify(token)).ok_or_else(|| {
            refuse(
                Reason::CredentialInvalid,
                "the credential is not one of this deployment, or it was damaged",
            )
        })
    }
}

/// Whether the method needs no credential. Health and reflection say nothing that a stranger may
/// not know, and probes have no credential.
pub(super) fn is_exempt(method: &str) -> bool {
    const EXEMPT: [&str; 3] = [
        "/grpc.health.v1.Health/",
        "/grpc.reflection.v1.ServerReflection/",
        "/grpc.reflection.v1alpha.ServerReflection/",
    ];
    EXEMPT.iter().any(|service| method.starts_with(service))
}

#[derive(Clone)]
pub(super) struct Authenticate {
    authenticator: Authenticator,
}

impl Authenticate {
    pub(super) fn new(authenticator: Authenticator) -> Self {
        Self { authenticator }
    }

    /// The caller, if its credential opens the method.
    fn admitted(&self, call: &Call) -> Result<Principal, Status> {
        let caller = self.authenticator.principal(call.headers())?;
        // A method that does not stand in the table is not open by mistake.
        may_enter(call.uri().path(), &caller)?;
        Ok(caller)
    }
}

impl Around for Authenticate {
    fn around<S: Below>(&self, below: &mut S, mut call: Call) -> Answering {
        if !is_exempt(call.uri().path()) {
            match self.admitted(&call) {
                Ok(caller) => {
                    call.extensions_mut().insert(caller);
                }
                Err(refusal) => {
                    tracing::debug!("refused: {}", refusal.message());
                    let refusal: Reply = refusal.into_http();
                    return Box::pin(ready(Ok(refusal)));
                }
            }
        }
        Box::pin(below.call(call))
    }
}
