//! Two hosts on one record: a leader has clusters on its own host alone, and waits with clean until
//! the other host has ended what it ran.

use chassis::clock::{Clock as _, ManualClock};
use proto::{Place, PlaceUid, Problem, Reason};

use super::*;
use crate::ports::memory::SUCCESSOR_WAITS;

/// Two hosts with one application. Its main() exits 0 after its one job, which runs until the test
/// ends it.
struct Hosts {
    a: World,
    b: World,
    clock: Arc<ManualClock>,
}

impl Hosts {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::new());
        let program: Program = Arc::new(|started| {
            Box::pin(async move {
                execute(&started.execution.unwrap(), "long").await.ok();
                0
            })
        });
        let world = World::new(clock.clone(), spec(), program).await;
        world.behave("long", Behaviour::Run);
        // A millisecond passes with each turn of the tasks, so that waits are short and no answer
        // is late.
        let time = clock.clone();
        tokio::spawn(async move {
            loop {
                time.advance(Duration::from_millis(1));
                tokio::task::yield_now().await;
            }
        });
        Self { a: host(&world, "a", 1), b: host(&world, "b", 2), clock }
    }

    /// A leader on host a has a cluster with the job, then its process is gone.
    async fn led_by_a() -> Self {
        Self::new().await.led().await
    }

    /// The same, where no fence holds back what a cluster does.
    async fn led_by_a_ungated() -> Self {
        let hosts = Self::new().await;
        hosts.a.plan_ungated();
        hosts.led().await
    }

    async fn led(self) -> Self {
        let hosts = self;
        let first = contend(&hosts.a, "a/runner-0");
        hosts.done("submit long", 1).await;
        hosts.done("main", 1).await;
        first.abort();
        let _ = first.await;
        assert!(hosts.a.has_cluster(), "a cluster outlives its leader");
        hosts
    }

    /// Waits until a thing was done so many times, whichever host did it.
    async fn done(&self, line: &str, times: usize) {
        until(line, || count(&self.a, line) >= times).await;
    }

    /// Waits until people are told that the application waits for host a.
    async fn until_it_waits(&self) {
        let told = |line: &String| line.starts_with("told leftover: host a has not ended yet");
        until("the complaint", || self.b.done().iter().any(told)).await;
        assert!(!self.b.recorded().await.clean);
    }

    /// Waits until people are told that the next cluster waits for host a.
    async fn until_its_cluster_waits(&self) {
        let told = |line: &String| line.starts_with("told warning: the next cluster waits until");
        until("the complaint", || self.b.done().iter().any(told)).await;
    }
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let so = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    soon(what, so).await;
}

fn host(world: &World, name: &str, byte: u8) -> World {
    world.at(place(name, byte))
}

fn place(name: &str, byte: u8) -> Place {
    Place::host(name, PlaceUid::from_bytes([byte; 8])).unwrap()
}

#[tokio::test]
async fn a_leader_on_another_host_runs_the_job_there_and_is_clean_once_the_first_host_is_done() {
    let hosts = Hosts::led_by_a().await;
    let Hosts { a, b, .. } = &hosts;
    let next = contend(b, "b/runner-0");
    // How the main() of another host ended is not known, so main() is executed again.
    hosts.done("main", 2).await;
    hosts.done("submit long", 2).await;
    assert_eq!((count(b, "cluster 1 on a"), count(b, "cluster 2 on b")), (1, 1));
    b.end_job("long", JobOutcome::Succeeded).await;

    hosts.until_it_waits().await;
    let conditions = b.recorded().await.conditions;
    let condition = conditions.iter().find(|known| known.r#type == "TornDown").unwrap();
    assert_eq!(condition.reason, "PLACES_NOT_RELEASED");
    for way_out in ["start host a again", "mainspring host give-up", "mainspring abandon orders@1"]
    {
        assert!(condition.message.contains(way_out), "{way_out}: {}", condition.message);
    }
    assert_eq!((count(b, "teardown 2 on b"), count(b, "sweep 1"), count(b, "remove")), (1, 0, 0));
    assert!(a.has_cluster(), "no leader of another host ends it");

    a.release_clusters().await;
    assert_eq!(code(next).await, 0);
    assert_eq!((count(b, "sweep 1"), count(b, "clean")), (1, 1));
    assert_eq!(b.recorded().await.leftovers, Vec::<String>::new());
}

#[tokio::test]
async fn a_cluster_elsewhere_is_neither_called_nor_torn_down_when_the_application_ends() {
    let hosts = Hosts::led_by_a().await;
    let Hosts { a, b, .. } = &hosts;
    b.cancel().await;
    let next = contend(b, "b/runner-0");
    hosts.until_it_waits().await;
    let application = b.recorded().await;
    assert_eq!(application.jobs[0].end.as_ref().unwrap().outcome(), JobOutcome::Cancelled);
    assert_eq!(application.cluster.unwrap().incarnation, 1, "nobody needs another one");
    assert!(b.done().iter().all(|done| !done.starts_with("teardown")), "{:?}", b.done());
    a.release_clusters().await;
    assert_eq!(code(next).await, 3);
}

#[tokio::test]
async fn an_abandoned_application_waits_for_no_host_and_names_it() {
    let hosts = Hosts::led_by_a().await;
    let b = &hosts.b;
    b.cancel().await;
    let next = contend(b, "b/runner-0");
    hosts.until_it_waits().await;
    b.abandon().await;
    assert_eq!(code(next).await, 3);
    let leftovers = b.recorded().await.leftovers;
    assert!(leftovers.iter().any(|left| left.contains("host a")), "{leftovers:?}");
    assert!(hosts.a.has_cluster());
}

#[tokio::test]
async fn a_clean_that_is_refused_for_a_host_that_no_view_has_shown_is_tried_again() {
    let hosts = Hosts::new().await;
    let a = &hosts.a;
    let contender = contend(a, "a/runner-0");
    hosts.done("submit long", 1).await;
    // The wait for this output is the last step before the application is marked clean.
    a.keep_output_waiting(5);
    a.end_job("long", JobOutcome::Succeeded).await;
    hosts.done("remove", 1).await;
    a.refuse_write(Problem::new(Reason::PlacesNotReleased, "host b has not ended it yet"));
    assert_eq!(code(contender).await, 0);
    assert_eq!(count(a, "clean"), 1);
}

#[tokio::test]
async fn a_cluster_elsewhere_is_waited_for_only_where_no_fence_holds_it_back_and_for_so_long() {
    for is_ungated in [false, true] {
        let hosts =
            if is_ungated { Hosts::led_by_a_ungated().await } else { Hosts::led_by_a().await };
        let from = hosts.clock.boot();
        let next = contend(&hosts.b, "b/runner-0");
        hosts.done("submit long", 2).await;
        let waited = hosts.clock.boot().saturating_duration_since(from);
        assert_eq!(waited >= SUCCESSOR_WAITS, is_ungated, "{waited:?}");
        assert!(hosts.a.has_cluster(), "host a was not heard of");
        next.abort();
    }
}

#[tokio::test]
async fn the_next_cluster_begins_once_the_other_host_has_ended_the_one_before() {
    let hosts = Hosts::led_by_a_ungated().await;
    let (b, from) = (&hosts.b, hosts.clock.boot());
    let next = contend(b, "b/runner-0");
    hosts.done("main", 2).await;
    hosts.until_its_cluster_waits().await;
    let conditions = b.recorded().await.conditions;
    let condition = conditions.iter().find(|known| known.r#type == "ClusterReady").unwrap();
    assert_eq!(condition.reason, "PLACES_NOT_RELEASED");
    for said in ["host a has ended incarnation 1", "at most 60 s", "mainspring host give-up a"] {
        assert!(condition.message.contains(said), "{said}: {}", condition.message);
    }
    assert_eq!(count(b, "cluster 2 on b"), 0);

    hosts.a.release_clusters().await;
    hosts.done("cluster 2 on b", 1).await;
    let waited = hosts.clock.boot().saturating_duration_since(from);
    assert!(waited < SUCCESSOR_WAITS, "{waited:?}");
    hosts.done("submit long", 2).await;
    b.end_job("long", JobOutcome::Succeeded).await;
    assert_eq!(code(next).await, 0);
    let conditions = b.recorded().await.conditions;
    let condition = conditions.iter().find(|known| known.r#type == "ClusterReady").unwrap();
    assert_eq!(condition.reason, "", "the wait is over");
}

#[tokio::test]
async fn the_next_cluster_does_not_wait_for_a_host_that_is_given_up() {
    let hosts = Hosts::led_by_a_ungated().await;
    let from = hosts.clock.boot();
    let next = contend(&hosts.b, "b/runner-0");
    hosts.until_its_cluster_waits().await;
    hosts.b.give_up(&place("a", 1)).await;
    hosts.done("cluster 2 on b", 1).await;
    let waited = hosts.clock.boot().saturating_duration_since(from);
    assert!(waited < SUCCESSOR_WAITS, "{waited:?}");
    next.abort();
}

#[tokio::test]
async fn an_application_that_is_cancelled_meanwhile_waits_for_no_cluster() {
    let hosts = Hosts::led_by_a_ungated().await;
    let next = contend(&hosts.b, "b/runner-0");
    hosts.until_its_cluster_waits().await;
    hosts.b.cancel().await;
    hosts.until_it_waits().await;
    let cluster = hosts.b.recorded().await.cluster.unwrap();
    assert_eq!(cluster.incarnation, 1, "no leader needs another one");
    hosts.a.release_clusters().await;
    assert_eq!(code(next).await, 3);
}
