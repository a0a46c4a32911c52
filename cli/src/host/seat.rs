//! The seat of this host among the hosts of its deployment. The elector keeps the seat while `up`
//! attends, and tells which other hosts have one.

use std::time::Duration;

use chassis::BoxError;
use chassis::clock::timeout;
use chassis::tasks::Shutdown;
use client::error::CallError;
use client::hosts::{Attendance, Host, Hosts};
use proto::{Code, PlaceUid};
use tokio::sync::{oneshot, watch};

use super::service::Reach;
use super::{ELECTOR, build};
use crate::failure::{Failure, OrFailure};

/// How long the start of the host waits for the first word of the elector about the hosts. A host
/// that hears nothing by then runs all the same, and keeps what it has.
const FIRST_WORD: Duration = Duration::from_secs(5);

/// How long a verb waits for the list of the hosts.
const ANSWER: Duration = Duration::from_secs(10);

/// The hosts that have a seat, by name.
pub(crate) async fn taken(reach: &Reach) -> Result<Vec<Host>, CallError> {
    let hosts = Hosts::new(reach.channel(ELECTOR), reach.clock.clone());
    match timeout(&reach.clock, ANSWER, hosts.list()).await {
        Ok(answer) => answer,
        Err(elapsed) => {
            Err(CallError::new(Code::DeadlineExceeded, format!("{ELECTOR}: {elapsed}")))
        }
    }
}

/// A seat that is being kept.
pub(crate) struct Seat {
    /// This host.
    pub(crate) me: PlaceUid,
    /// The hosts that have a seat, this one among them once the list is known.
    pub(crate) hosts: watch::Receiver<Vec<Host>>,
    attendance: Attendance,
}

impl Seat {
    /// Takes the seat of this host; `None` if the host is the only one of its deployment. A host
    /// that may not have a seat is told so before it does anything else.
    pub(crate) async fn take(reach: &Reach) -> OrFailure<Option<Self>> {
        if !reach.places.are_shared() {
            return Ok(None);
        }
        let place = reach.places.host().map_err(Failure::of_state)?;
        let me = place.uid();
        let attendance =
            Hosts::new(reach.channel(ELECTOR), reach.clock.clone()).attend(place, build::VERSION);
        let hosts = attendance.hosts();
        let mut told = hosts.clone();
        let is_known = |hosts: &Vec<Host>| hosts.iter().any(|host| host.place.uid() == me);
        let first_word = async { told.wait_for(is_known).await.map(drop) };
        tokio::select! {
            refused = attendance.refused() => return Err(refused.into()),
            heard = timeout(&reach.clock, FIRST_WORD, first_word) => if heard.is_err() {
                tracing::warn!(
                    "the elector does not tell which hosts are there: until it does, this host \
                     starts no contender of another application"
                );
            },
        }
        Ok(Some(Self { me, hosts, attendance }))
    }

    /// Keeps the seat until it is refused for good, and says in `refused` by which error. At a
    /// shutdown the seat is free at once.
    pub(crate) async fn keep(
        self,
        refused: oneshot::Sender<CallError>,
        shutdown: Shutdown,
    ) -> Result<(), BoxError> {
        let error = tokio::select! {
            error = self.attendance.refused() => error,
            () = shutdown.begun() => {
                self.attendance.leave().await;
                return Ok(());
            }
        };
        // The receiver waits for as long as the host's tasks run.
        let _ = refused.send(error.clone());
        Err(error.into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::convert::Infallible;
    use std::sync::Arc;

    use chassis::clock::{Clock as _, ManualClock};
    use chassis::transport::OsTransport;
    use client::places::Places;

    use super::*;
    use crate::host::file::Given;

    /// The way to the services of a host, none of which runs.
    fn reach(places: Places, clock: &Arc<ManualClock>) -> Reach {
        Reach::new(places, Arc::new(OsTransport), clock.clone(), Given::new()).unwrap()
    }

    async fn pass(clock: &ManualClock) -> Infallible {
        loop {
            tokio::task::yield_now().await;
            clock.advance(Duration::from_millis(50));
        }
    }

    #[tokio::test]
    async fn one_of_several_hosts_runs_also_when_its_elector_is_silent() {
        let (state, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::new()));
        let places = Places::new(state.path()).sharing(Some(state.path().join("shared")));
        let (reach, began) = (reach(places, &clock), clock.boot());
        let seat = tokio::select! {
            seat = Seat::take(&reach) => seat.unwrap().expect("this host is one of several"),
            never = pass(&clock) => match never {},
        };
        assert_eq!(seat.me, reach.places.host().unwrap().uid());
        assert!(clock.boot().saturating_duration_since(began) >= FIRST_WORD);
    }

    #[tokio::test]
    async fn the_only_host_takes_no_seat() {
        let (state, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::new()));
        let places = Places::new(state.path());
        assert!(Seat::take(&reach(places, &clock)).await.unwrap().is_none());
    }
}
