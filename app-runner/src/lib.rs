//! One application's run. A contender process looks at the record and campaigns; while it leads, it
//! brings up what main() needs, launches main(), answers main()'s `execute()` calls, and ends and
//! cleans up.
//!
//! [`model`] decides without I/O or a clock, [`service`] carries decisions out over [`ports`], and
//! [`grpc`] is what main() calls. A runner stores nothing itself and starts no process of a
//! cluster: after a crash it knows what the record says.

pub mod config;
pub mod error;
pub mod grpc;
pub mod model;
pub mod ports;
pub mod service;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use chassis::channel;
use chassis::clock::SharedClock;
use chassis::credential::Credential;
use chassis::server::{self, Authenticator, Footing};
use chassis::tasks::Shutdown;
use chassis::transport::{Endpoint, SharedTransport};
use proto::{Place, Reason};
use tonic::service::Routes;

use crate::config::Args;
use crate::error::GaveUp;
use crate::grpc::GrpcFront;
use crate::ports::Ports;
use crate::ports::election::ElectorElection;
use crate::ports::engine::{TetheredEngine, Tethers};
use crate::ports::jobs::EngineJobs;
use crate::ports::keyring::Keyring;
use crate::ports::main_process::TetheredMain;
use crate::ports::workspace::LocalWorkspace;
use crate::service::{Contender, Identity};

/// Contends for one generation of an application until it is clean. Answers the exit code: the
/// application's (0 succeeded, 1 failed, 3 cancelled, 4 deadline exceeded), or 70 when this
/// contender is to be started again. An error that is a [`GaveUp`] would come again with each
/// start.
pub async fn serve(args: Args, footing: Footing) -> anyhow::Result<u8> {
    let places = args.places();
    let credential = Credential::from_file(&args.token_file).map_err(unusable_token)?;
    let keyring = Keyring::default();
    let mainspring =
        std::env::current_exe().context("cannot find the executable of this process")?;
    // Probes are answered until the contender has left.
    let probed = Footing { shutdown: Shutdown::new(), ..footing.clone() };
    let Footing { transport, clock, shutdown } = footing;
    let place = places.host()?;
    let ports = ports(&args, mainspring, &transport, &clock, &credential, &keyring, place);
    let health = health(&args, &probed, credential).await?;
    let front = Arc::new(GrpcFront::new(places, transport, clock, keyring));
    let identity = Identity { application: args.application(), holder: args.contender.clone() };
    let contender = Contender::new(identity, ports, front, shutdown);
    let code = tokio::select! {
        code = contender.run() => code.map_err(|error| match GaveUp::over(&error) {
            Some(gave_up) => gave_up.into(),
            None => anyhow::Error::from(error),
        }),
        ended = health => Err(anyhow!("the health endpoint ended: {ended:?}")),
    };
    probed.shutdown.begin();
    code
}

/// A token file that holds no token, or that this user may not read, will be no other at the next
/// start, so the contender gives up over it.
fn unusable_token(error: std::io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::InvalidData | ErrorKind::PermissionDenied => {
            GaveUp { reason: Reason::CredentialInvalid, message: error.to_string() }.into()
        }
        _ => error.into(),
    }
}

/// Answers health probes until the shutdown of the footing. Where no endpoint was given, no probes
/// are answered and the future stays pending for ever.
async fn health(
    args: &Args,
    footing: &Footing,
    credential: Credential,
) -> anyhow::Result<impl Future<Output = Result<(), chassis::BoxError>> + use<>> {
    let server = match args.listen.clone() {
        None => None,
        Some(endpoint) => {
            // Probes show no token, and this server serves nothing else.
            let authenticator = Authenticator::holding(credential);
            let (name, routes) = (Args::SERVICE, Routes::default());
            Some(server::bind(footing.serve(name, vec![endpoint], authenticator, routes)).await?)
        }
    };
    Ok(async move {
        match server {
            Some(server) => server.run().await,
            None => std::future::pending().await,
        }
    })
}

/// The ports of one host: four services by gRPC, engines and main() under tethers.
fn ports(
    args: &Args,
    mainspring: PathBuf,
    transport: &SharedTransport,
    clock: &SharedClock,
    credential: &Credential,
    keyring: &Keyring,
    place: Place,
) -> Ports {
    let to = |given: Option<&Endpoint>, service: &str| {
        let credential = Some(credential.clone());
        channel::connect(transport.clone(), clock.clone(), args.peer(given, service), credential)
    };
    let store = to(args.store.as_ref(), "jobgraph-store");
    let elector =
        client::election::Election::new(to(args.elector.as_ref(), "leader-elector"), clock.clone());
    let fetcher = client::artifacts::Artifacts::new(to(args.fetcher.as_ref(), "artifact-fetcher"));
    let lifecycle = client::lifecycle::Lifecycle::new(to(args.lifecycle.as_ref(), "lifecycle"));
    let tethers = Tethers {
        places: args.places(),
        mainspring,
        transport: transport.clone(),
        clock: clock.clone(),
        keyring: keyring.clone(),
        run_as: args.run_as.given(),
    };
    Ports {
        election: Arc::new(ElectorElection::new(
            elector,
            clock.clone(),
            args.contender.clone(),
            args.lock_file(),
        )),
        record: Arc::new(client::record::RecordClient::new(store.clone())),
        keyring: keyring.clone(),
        payloads: Arc::new(client::payloads::Payloads::new(store.clone())),
        artifacts: Arc::new(fetcher),
        engine: Arc::new(TetheredEngine::new(tethers.clone(), args.engines())),
        substrate: Arc::new(lifecycle),
        jobs: Arc::new(EngineJobs::new(transport.clone(), clock.clone(), keyring.clone())),
        main: Arc::new(TetheredMain::new(tethers, client::logs::Logs::new(store))),
        workspace: Arc::new(LocalWorkspace::new(args.places(), keyring.clone())),
        clock: clock.clone(),
        place: Some(place),
        successor_waits: args.grace.successor_waits(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io;

    use super::*;

    #[test]
    fn a_token_that_another_start_would_not_mend_is_given_up_over_and_a_disk_is_not() {
        for (kind, gives_up) in [
            (ErrorKind::InvalidData, true),
            (ErrorKind::PermissionDenied, true),
            (ErrorKind::StorageFull, false),
            (ErrorKind::Interrupted, false),
        ] {
            let error = unusable_token(io::Error::new(kind, "/run/token is none"));
            let gave_up = error.downcast_ref::<GaveUp>();
            assert_eq!(gave_up.is_some(), gives_up, "{error:?}");
            let text = "error[CREDENTIAL_INVALID]: /run/token is none";
            assert!(gave_up.is_none_or(|gave_up| gave_up.to_string() == text), "{error:?}");
        }
    }
}
