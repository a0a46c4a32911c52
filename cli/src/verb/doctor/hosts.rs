//! The hosts of a deployment that has several, as `doctor` looks at them.

use chassis::credential::DeploymentKey;
use client::hosts::Host;
use proto::{Place, PlaceUid, Reason};

use super::Finding;
use crate::failure::OrFailure;
use crate::host::lock::{Holder, holder};
use crate::host::{ELECTOR, seat};
use crate::serve;
use crate::session::Session;

/// Which hosts are there, and whether this one is; `None` for the only host of a deployment.
pub(super) async fn look(session: &Session) -> OrFailure<Option<Finding>> {
    if !session.places.are_shared() {
        return Ok(None);
    }
    find(session).await.map(Some)
}

async fn find(session: &Session) -> OrFailure<Finding> {
    let what = "hosts";
    let unknown = |why: &str| Finding { what, text: why.to_owned(), problem: None };
    // To ask for the id of a host that has none yet would make it.
    if !session.places.host_id().exists()
        || DeploymentKey::load(&session.places.deployment_key()).is_err()
    {
        return Ok(unknown("this host was never up"));
    }
    let me = match session.places.host() {
        Ok(me) => me,
        Err(error) => {
            let problem = Some(error.to_string());
            return Ok(Finding { what, text: "this one does not know itself".to_owned(), problem });
        }
    };
    let reach = session.reach()?;
    let is_up = matches!(holder(&session.places.host_lock())?, Holder::Held(_));
    if !reach.is_ready(ELECTOR).await {
        let seats = serve::seats(&session.places, &session.transport, &session.clock).await;
        let Some(seats) = seats else {
            return Ok(unknown(&format!(
                "{} (this one); the elector tells of no other",
                me.name()
            )));
        };
        let problem = taken(&seats, &me, is_up);
        return Ok(Finding { what, text: listed(&seats, me.uid()), problem });
    }
    Ok(match seat::taken(&reach).await {
        Ok(hosts) => {
            let seats = seats_of(hosts);
            let missing = missing(&seats, me.uid(), is_up);
            // A host that runs and has its seat is not up only to this command.
            let problem = missing.or_else(|| taken(&seats, &me, true));
            Finding { what, text: listed(&seats, me.uid()), problem }
        }
        Err(error) => {
            Finding { what, text: me.name().to_owned(), problem: Some(error.to_string()) }
        }
    })
}

fn seats_of(hosts: Vec<Host>) -> Vec<Place> {
    hosts.into_iter().map(|host| host.place).collect()
}

fn listed(seats: &[Place], me: PlaceUid) -> String {
    let name = |seat: &Place| {
        let mark = if seat.uid() == me { " (this one)" } else { "" };
        format!("{}{mark}", seat.name())
    };
    if seats.is_empty() {
        return "none is there".to_owned();
    }
    seats.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// What is wrong if the seat of this host is not its own while no elector runs here.
fn taken(seats: &[Place], me: &Place, is_up: bool) -> Option<String> {
    let seat = seats.iter().find(|seat| seat.name() == me.name())?;
    let (name, why) = (me.name(), |reason: Reason| format!("{reason}: {}", reason.remedy()));
    if seat.uid() != me.uid() {
        let why = why(Reason::HostNameTaken);
        return Some(format!("another host has the name {name}, and this one is refused ({why})"));
    }
    (!is_up).then(|| {
        format!(
            "another process attends as {name}, unless this host was killed a few seconds ago ({})",
            why(Reason::HostSuperseded)
        )
    })
}

/// What is wrong if this host runs and has no seat.
fn missing(seats: &[Place], me: PlaceUid, is_up: bool) -> Option<String> {
    let has_seat = seats.iter().any(|seat| seat.uid() == me);
    (is_up && !has_seat).then(|| {
        "this host runs and has no seat, so that the others take it for gone; up.log says why"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn uid(n: u8) -> PlaceUid {
        PlaceUid::from_bytes([n; 8])
    }

    fn host(name: &str, n: u8) -> Place {
        Place::host(name, uid(n)).unwrap()
    }

    #[test]
    fn a_host_that_runs_without_a_seat_is_a_problem() {
        let both = [host("node-7", 7), host("node-8", 8)];
        assert_eq!(listed(&both, uid(8)), "node-7, node-8 (this one)");
        assert_eq!(missing(&both, uid(8), true), None);
        assert!(missing(&both[..1], uid(8), true).is_some());
        assert_eq!(missing(&both[..1], uid(8), false), None, "it is not up");
        assert_eq!(listed(&[], uid(8)), "none is there");
    }

    #[test]
    fn a_seat_that_another_one_has_is_a_problem_before_this_host_is_started() {
        let seats = [host("node-7", 7)];
        assert_eq!(taken(&seats, &host("node-8", 8), false), None);
        let another = taken(&seats, &host("node-7", 9), false).unwrap();
        assert!(another.contains("HOST_NAME_TAKEN") && another.contains("node-7"), "{another}");
        let a_copy = taken(&seats, &host("node-7", 7), false).unwrap();
        assert!(a_copy.contains("HOST_SUPERSEDED"), "{a_copy}");
        assert_eq!(taken(&seats, &host("node-7", 7), true), None, "its elector starts");
    }
}
