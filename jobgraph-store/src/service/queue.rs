//! Which applications wait for room on the host, as the host's `up` reports, and on other hosts, as
//! their stores say. Queues are kept in memory and shown while they are fresh; they are never a
//! revision.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chassis::clock::{Boot, Clock as _, SharedClock};
use proto::{ApplicationRef, Reason, api, jobgraph};

/// A queue that was reported longer ago than this is not shown: no `up` is running, so nothing is
/// known of the queue.
pub const FRESH_FOR: Duration = Duration::from_secs(5);

/// The latest queue that each host has reported.
#[derive(Clone)]
pub struct Queue {
    reported: Arc<Mutex<HashMap<Host, Reported>>>,
    clock: SharedClock,
}

/// Whose queue it is: this store's host, or the one whose store is at this endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Host {
    Own,
    Other(String),
}

struct Reported {
    at: Boot,
    report: jobgraph::ReportQueueRequest,
    places: HashMap<ApplicationRef, api::QueuePlace>,
}

impl Queue {
    /// An empty value: no queue was reported yet.
    pub fn new(clock: SharedClock) -> Self {
        Self { reported: Arc::default(), clock }
    }

    fn reported(&self) -> MutexGuard<'_, HashMap<Host, Reported>> {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the queue of this host. An application whose name is malformed is left out.
    pub fn report(&self, report: jobgraph::ReportQueueRequest) {
        self.keep(Host::Own, report);
    }

    /// Replaces the queues of other hosts, by the endpoints of their stores. What a host does not
    /// say any more is shown for as long as it is fresh.
    pub(crate) fn report_of_others(
        &self,
        queues: impl IntoIterator<Item = (String, jobgraph::ReportQueueRequest)>,
    ) {
        for (endpoint, report) in queues {
            self.keep(Host::Other(endpoint), report);
        }
        let now = self.clock.boot();
        self.reported().retain(|host, of| *host == Host::Own || of.is_fresh(now));
    }

    /// The queue of this host, while it is fresh.
    pub(crate) fn of_own_host(&self) -> Option<jobgraph::ReportQueueRequest> {
        let now = self.clock.boot();
        let reported = self.reported();
        reported.get(&Host::Own).filter(|of| of.is_fresh(now)).map(|of| of.report.clone())
    }

    fn keep(&self, host: Host, report: jobgraph::ReportQueueRequest) {
        let told = report.clone();
        let jobgraph::ReportQueueRequest { running, max_running, waiting, length } = report;
        let places = (1..).zip(waiting).filter_map(|(position, waiting)| {
            let application = waiting.application.try_into().ok()?;
            let place = api::QueuePlace {
                position,
                length,
                running,
                max_running,
                share: waiting.share,
                share_running: waiting.share_running,
                message: String::new(),
            };
            Some((application, api::QueuePlace { message: sentence(&place), ..place }))
        });
        let places = places.collect();
        self.reported().insert(host, Reported { at: self.clock.boot(), report: told, places });
    }

    /// The place where this application waits: of several hosts' queues the one where its turn
    /// comes first. `None`: the application does not wait, or no report has said so lately.
    pub fn place(&self, application: &ApplicationRef) -> Option<api::QueuePlace> {
        let now = self.clock.boot();
        let reported = self.reported();
        let places = reported.values().filter(|of| of.is_fresh(now));
        let places = places.filter_map(|of| of.places.get(application));
        places.min_by_key(|place| (place.position, place.length)).cloned()
    }

    /// Shows an application that has no leader yet as QUEUED while it has a place.
    pub fn complete(&self, application: &ApplicationRef, shown: &mut api::Application) {
        if shown.phase() != api::Phase::Submitted {
            return;
        }
        let Some(place) = self.place(application) else { return };
        shown.set_phase(api::Phase::Queued);
        shown.reason = Reason::HostFull.to_string();
        shown.message.clone_from(&place.message);
        shown.queue = Some(place);
    }
}

impl Reported {
    fn is_fresh(&self, now: Boot) -> bool {
        now.saturating_duration_since(self.at) <= FRESH_FOR
    }
}

/// The sentence for people: `place 3 of 12: the host runs 8 of at most 8 applications, 4 of them of
/// team=orders`.
fn sentence(place: &api::QueuePlace) -> String {
    let api::QueuePlace { position, length, running, max_running, share, share_running, .. } =
        place;
    let of_share = match share.as_str() {
        "" => String::new(),
        share => format!(", {share_running} of them of {share}"),
    };
    format!(
        "place {position} of {length}: the host runs {running} of at most {max_running} applications{of_share}"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use chassis::clock::ManualClock;
    use proto::Generation;

    use super::*;

    fn reference(id: &str) -> ApplicationRef {
        ApplicationRef { id: id.parse().unwrap(), generation: Generation(1) }
    }

    fn report(ids: &[&str]) -> jobgraph::ReportQueueRequest {
        let waiting = ids.iter().map(|id| jobgraph::WaitingApplication {
            application: Some(reference(id).into()),
            share: "team=orders".into(),
            share_running: 1,
        });
        let length = u32::try_from(ids.len()).unwrap();
        jobgraph::ReportQueueRequest {
            running: 2,
            max_running: 2,
            waiting: waiting.collect(),
            length,
        }
    }

    fn shown(queue: &Queue, id: &str, phase: api::Phase) -> api::Application {
        let mut application = api::Application { phase: phase.into(), ..Default::default() };
        queue.complete(&reference(id), &mut application);
        application
    }

    #[test]
    fn an_application_that_waits_is_queued_with_its_place_and_why() {
        let queue = Queue::new(Arc::new(ManualClock::new()));
        queue.report(report(&["first", "second"]));
        let second = shown(&queue, "second", api::Phase::Submitted);
        assert_eq!((second.phase(), second.reason.as_str()), (api::Phase::Queued, "HOST_FULL"));
        let why =
            "place 2 of 2: the host runs 2 of at most 2 applications, 1 of them of team=orders";
        assert_eq!(second.message, why);
        assert_eq!(second.queue.unwrap().position, 2);
        assert_eq!(shown(&queue, "other", api::Phase::Submitted).phase(), api::Phase::Submitted);
    }

    #[test]
    fn one_that_is_led_or_has_ended_is_what_the_record_says() {
        let queue = Queue::new(Arc::new(ManualClock::new()));
        queue.report(report(&["first"]));
        for phase in [api::Phase::Starting, api::Phase::Running, api::Phase::Ended] {
            let first = shown(&queue, "first", phase);
            assert_eq!((first.phase(), first.queue), (phase, None));
        }
    }

    #[test]
    fn of_several_hosts_the_one_whose_turn_comes_first_is_shown() {
        let clock = Arc::new(ManualClock::new());
        let queue = Queue::new(clock.clone());
        queue.report(report(&["first", "second"]));
        queue.report_of_others([("tcp://b:1".to_owned(), report(&["second"]))]);
        assert_eq!(queue.place(&reference("second")).unwrap().position, 1);
        assert_eq!(queue.of_own_host().unwrap().length, 2, "the other host's is not told on");
        clock.advance(FRESH_FOR);
        queue.report(report(&["first", "second"]));
        clock.advance(Duration::from_millis(1));
        queue.report_of_others([]);
        assert_eq!(queue.place(&reference("second")).unwrap().position, 2, "the host is away");
    }

    #[test]
    fn a_later_report_replaces_the_earlier_one_and_an_old_one_is_not_shown() {
        let clock = Arc::new(ManualClock::new());
        let queue = Queue::new(clock.clone());
        queue.report(report(&["first", "second"]));
        queue.report(report(&["second"]));
        assert_eq!(queue.place(&reference("first")), None);
        assert_eq!(queue.place(&reference("second")).unwrap().position, 1);
        clock.advance(FRESH_FOR);
        assert!(queue.place(&reference("second")).is_some());
        clock.advance(Duration::from_millis(1));
        assert_eq!(queue.place(&reference("second")), None);
    }
}
