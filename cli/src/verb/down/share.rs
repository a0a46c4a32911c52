//! What `down` does on one of several hosts: applications go on on the others, so that only what
//! this host has of them is ended.

use std::collections::HashSet;
use std::time::Duration;

use chassis::clock::Clock as _;
use client::hosts::Host;
use proto::Reason;

use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::host::service::{self, Reach};
use crate::host::{ELECTOR, LIFECYCLE, contenders, seat};
use crate::output::Output;
use crate::session::Session;
use crate::table::plural;

/// How long other hosts may take to take over what this one has clusters for. A leader there begins
/// another incarnation, and this host's lifecycle then ends the replaced one and forgets it.
const TAKEN_OVER: Duration = Duration::from_secs(45);

/// How often lifecycle is asked what it still has.
const LOOK: Duration = Duration::from_millis(250);

/// The other hosts of the deployment.
pub(super) enum Others {
    /// There is no other one now, or the deployment has one host.
    None,
    /// These are there.
    Live(Vec<Host>),
    /// There may be some, and the elector does not tell, for this cause.
    Unknown(String),
}

impl Others {
    /// Refuses a cancel of all applications where other hosts may be at work on them.
    pub(super) fn allow_cancel(&self) -> OrFailure<()> {
        let Self::Unknown(why) = self else { return Ok(()) };
        let text = format!(
            "nothing is cancelled: other hosts may carry on with these applications, and the \
             elector does not tell ({why})"
        );
        Err(Failure::new(Exit::UNREACHABLE, Reason::HostNotReachable, text).help(
            "mainspring doctor shows what is wrong with the elector; --yes ends this host without \
             a cancel",
        ))
    }
}

/// The other hosts that are there. A command whose environment does not say that this host is one
/// of several sees it from the host's services.
pub(super) async fn others(reach: &Reach, session: &Session) -> OrFailure<Others> {
    if !session.places.are_shared() && !service::any_is_shared(&session.places)? {
        return Ok(Others::None);
    }
    if !reach.is_ready(ELECTOR).await {
        return Ok(Others::Unknown("it does not answer".to_owned()));
    }
    let me = session.places.host().map_err(Failure::of_state)?.uid();
    Ok(match seat::taken(reach).await {
        Ok(mut hosts) => {
            hosts.retain(|host| host.place.uid() != me);
            if hosts.is_empty() { Others::None } else { Others::Live(hosts) }
        }
        Err(error) => Others::Unknown(error.to_string()),
    })
}

/// Says what becomes of the applications.
pub(super) fn announce(hosts: &[Host], cancel: bool, out: &Output) {
    let names: Vec<_> = hosts.iter().map(|host| host.place.name()).collect();
    let count = plural(hosts.len() as u64, "other host");
    out.talk(format!("applications go on on {count}: {}", names.join(", ")));
    if cancel {
        out.talk("nothing is cancelled: mainspring cancel ends an application on all hosts");
    }
}

/// Ends this host's contenders, and waits until its clusters have ended, so that no application
/// waits for this host once it is gone. The caller has ended `up`, which would start contenders
/// again.
pub(super) async fn hand_over(reach: &Reach, session: &Session) {
    if !reach.is_ready(LIFECYCLE).await {
        return;
    }
    let (clock, out) = (&session.clock, &session.out);
    contenders::end_all_but(&HashSet::new(), reach.channel(LIFECYCLE), clock).await;
    let end = clock.boot() + TAKEN_OVER;
    let mut told = false;
    loop {
        let left = match contenders::with_clusters(reach.channel(LIFECYCLE), clock).await {
            Ok(left) if left.is_empty() => return,
            Ok(left) => left,
            Err(error) => return tracing::warn!("lifecycle does not tell its processes: {error}"),
        };
        let names: Vec<_> = left.iter().map(ToString::to_string).collect();
        let names = names.join(", ");
        if clock.boot() > end {
            out.talk(format!(
                "no other host has taken over {names}: their clusters are ended here, and they \
                 become clean only once this host has been up again, or was given up \
                 (mainspring host give-up)"
            ));
            return;
        }
        if !std::mem::replace(&mut told, true) {
            out.tell(format!("waiting until other hosts have taken over {names}"));
        }
        clock.sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_hosts_may_carry_on_is_not_cancelled() {
        assert_eq!(Others::None.allow_cancel(), Ok(()));
        let refused = Others::Unknown("it hangs".to_owned()).allow_cancel();
        let failure = refused.expect_err("others may be there");
        assert_eq!(failure.exit, Exit::UNREACHABLE);
        assert!(failure.message.contains("it hangs"), "{}", failure.message);
    }
}
