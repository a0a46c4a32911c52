//! The hosts of a deployment that has several, as `doctor` looks at them.

use chassis::credential::DeploymentKey;
use client::hosts::Host;
use proto::PlaceUid;

use super::Finding;
use crate::failure::OrFailure;
use crate::host::lock::{Holder, holder};
use crate::host::{ELECTOR, seat};
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
    if !reach.is_ready(ELECTOR).await {
        return Ok(unknown(&format!("{} (this one); the elector tells of no other", me.name())));
    }
    let is_up = matches!(holder(&session.places.host_lock())?, Holder::Held(_));
    Ok(match seat::taken(&reach).await {
        Ok(hosts) => Finding {
            what,
            text: listed(&hosts, me.uid()),
            problem: missing(&hosts, me.uid(), is_up),
        },
        Err(error) => {
            Finding { what, text: me.name().to_owned(), problem: Some(error.to_string()) }
        }
    })
}

fn listed(hosts: &[Host], me: PlaceUid) -> String {
    let name = |host: &Host| {
        let mark = if host.place.uid() == me { " (this one)" } else { "" };
        format!("{}{mark}", host.place.name())
    };
    if hosts.is_empty() {
        return "none is there".to_owned();
    }
    hosts.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// What is wrong if this host runs and has no seat.
fn missing(hosts: &[Host], me: PlaceUid, is_up: bool) -> Option<String> {
    let has_seat = hosts.iter().any(|host| host.place.uid() == me);
    (is_up && !has_seat).then(|| {
        "this host runs and has no seat, so that the others take it for gone; up.log says why"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::SystemTime;

    use proto::Place;

    use super::*;

    #[test]
    fn a_host_that_runs_without_a_seat_is_a_problem() {
        let uid = |n| PlaceUid::from_bytes([n; 8]);
        let host = |name: &str, n| Host {
            place: Place::host(name, uid(n)).unwrap(),
            version: "v1".into(),
            since: SystemTime::UNIX_EPOCH,
        };
        let both = [host("node-7", 7), host("node-8", 8)];
        assert_eq!(listed(&both, uid(8)), "node-7, node-8 (this one)");
        assert_eq!(missing(&both, uid(8), true), None);
        assert!(missing(&both[..1], uid(8), true).is_some());
        assert_eq!(missing(&both[..1], uid(8), false), None, "it is not up");
        assert_eq!(listed(&[], uid(8)), "none is there");
    }
}
