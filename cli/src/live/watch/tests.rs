#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use chassis::clock::{ManualClock, SystemClock};
use chassis::transport::OsTransport;
use client::places::Places;
use proto::api::{Outcome, Phase};

use super::*;
use crate::api::tests::puppet::{Puppet, soon};
use crate::context::Asked;
use crate::host::lock::HostLock;
use crate::output::{Color, Verbosity};

fn clean() -> Application {
    let mut application = Application {
        application_id: "orders".into(),
        generation: 1,
        clean: true,
        terminal: true,
        ..Application::default()
    };
    application.set_phase(Phase::Ended);
    application.set_outcome(Outcome::Succeeded);
    application
}

/// Watches an application that is clean. Answers how long that took by its own clock, and what was
/// said.
async fn watched(output_ends: bool) -> (Duration, String) {
    let state = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new());
    let places = Places::new(state.path());
    // The lock makes a host seem to run, so that the watch does not start one.
    let lock = HostLock::take(&places.host_lock(), &(Arc::new(SystemClock) as _)).await.unwrap();
    let record = Puppet::new(clock.clone()).await;
    record.holds(clean());
    if output_ends {
        record.ends_output();
    }
    let out = Output::new(Format::Table, Color::Never, Verbosity::Plain, false);
    let session = Session {
        out,
        places,
        clock: clock.clone(),
        transport: Arc::new(OsTransport),
        asked: Asked::default(),
        elsewhere: None,
    };
    let watched = Watched {
        application: clean(),
        on_interrupt: OnInterrupt::Detach,
        gone_is_interrupt: false,
        exit_from_main: false,
        tail: 0,
    };
    let begin = clock.boot();
    let time_passes = async {
        loop {
            SystemClock.sleep(Duration::from_millis(1)).await;
            clock.advance(Duration::from_millis(100));
        }
    };
    let exit = soon(async {
        tokio::select! {
            exit = watch(watched, &session, record.api.clone()) => exit,
            () = time_passes => unreachable!("it passes for ever"),
        }
    });
    assert_eq!(exit.await.ok(), Some(Exit::SUCCEEDED));
    drop(lock);
    (clock.boot().saturating_duration_since(begin), session.out.passed_on())
}

#[tokio::test]
async fn output_whose_end_does_not_come_is_waited_for_for_a_while_and_that_is_said() {
    let missing = "the end of main()'s output did not come: mainspring logs orders --role main";
    let (waited, said) = watched(false).await;
    assert!(waited >= LAST_OUTPUT, "{waited:?}");
    assert!(said.contains(missing), "{said}");
    let (waited, said) = watched(true).await;
    assert!(waited < LAST_OUTPUT, "{waited:?}");
    assert!(!said.contains("did not come"), "{said}");
}
