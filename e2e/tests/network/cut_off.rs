//! The host of a leader is cut off from all members of etcd, both ways or one way, while a job
//! runs. Another host leads, and brings the application to its one end.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use e2e::local_cluster::{Cut, Way};
use e2e::process::{eventually, eventually_within};
use e2e::{Deployment, LocalCluster};

use crate::HOSTS;
use crate::beats;
use crate::hosts::{
    has_each_row_once, not_torn_down, nothing_is_left_but_empty_directories, wait_for_squares,
};
use crate::program::{BEFORE_THE_END, Program, release};

/// How long it may take until another host leads: the lease of two seconds and an election, on a
/// machine that is busy with other things.
const SUCCESSION: Duration = Duration::from_secs(20);

/// A deployment in which the worker of the first job is held before it says that the job has ended.
struct Held {
    bed: Deployment,
    marker: PathBuf,
}

impl Held {
    #[track_caller]
    fn begin(bed: Deployment) -> Self {
        let (bed, marker) = bed.with_failpoint(BEFORE_THE_END, "hold");
        Self { bed: bed.start(HOSTS), marker }
    }

    /// Submits the program and cuts its leader's host off while the first job runs. Answers the
    /// program, that host and another one.
    #[track_caller]
    fn cut_off(&self, way: Way) -> (Program, usize, usize) {
        let Self { bed, marker } = self;
        let program = Program::submit(bed, 0, &format!("{way:?}"));
        program.go("squares");
        eventually("the worker is held", || marker.exists());
        let old = bed.leader(0, "squares").expect("an application that is led names its host");
        bed.machines().cut(&Cut::new(LocalCluster::host(old), LocalCluster::MEMBERS, way));
        release(marker);
        (program, old, (old + 1) % HOSTS)
    }
}

/// Waits until the program's main() has begun on another host than at first.
#[track_caller]
fn is_succeeded(program: &Program, since: Instant) -> Duration {
    eventually_within(SUCCESSION, "main() has begun on another host", || {
        program.spans().len() == 2
    });
    since.elapsed()
}

#[test]
fn a_host_that_is_cut_off_from_etcd_is_succeeded_and_cleans_itself_once_it_is_back() {
    let held = Held::begin(Deployment::on_machines());
    let Held { bed, marker } = &held;
    for way in [Way::Both, Way::Out, Way::In] {
        let since = Instant::now();
        let (program, old, other) = held.cut_off(way);
        let cut = Instant::now();
        let took = is_succeeded(&program, cut);
        program.go("report");
        wait_for_squares(bed, other, "ended").exits(0);
        let status = bed.host(other).status("squares");
        let waits = not_torn_down(&status).map(|why| why["reason"].clone());
        assert_eq!(status["clean"], false, "what the old host has was not ended: {waits:?}");
        bed.machines().heal();
        let healed = Instant::now();
        wait_for_squares(bed, other, "clean").exits(0);
        println!(
            "{way:?}: cut after {:.1?}, taken over in {took:.1?}, clean {:.1?} after it was healed",
            cut.duration_since(since),
            healed.elapsed()
        );
        eventually("the host that was cut off answers", || {
            bed.host(old).start(&["status", "squares"]).finish().code == 0
        });
        has_each_row_once(bed, old, &program.out);
        assert_eq!(program.ran_alone(), 2);
        bed.was_kept_apart();
        nothing_is_left_but_empty_directories(bed, &[0, 1, 2]);
        // The next round holds its worker as this one did.
        std::fs::remove_file(marker.with_added_extension("go")).unwrap();
        std::fs::remove_file(marker).unwrap();
    }
}

/// The control: with a runner that acts past its lease, main() goes on on the host that is cut off,
/// beside its successor. Both witnesses see it.
#[test]
fn a_main_that_goes_on_past_the_lease_of_its_leader_is_seen() {
    let bed = Deployment::on_machines().with_bug("client.acts-past-its-lease");
    let held = Held::begin(bed);
    let (program, ..) = held.cut_off(Way::Both);
    is_succeeded(&program, Instant::now());
    eventually_within(SUCCESSION, "two main()s are seen to run at one instant", || {
        let told = beats::overlaps(&program.spans());
        !told.is_empty() && !held.bed.observer().overlaps().is_empty()
    });
}
