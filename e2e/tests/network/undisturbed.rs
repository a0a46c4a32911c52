//! Cuts that take no lease away: between hosts, and from one member of etcd.

use std::time::Duration;

use e2e::local_cluster::{Cut, Way};
use e2e::process::eventually;
use e2e::{Deployment, LocalCluster};
use serde_json::Value;

use crate::HOSTS;
use crate::hosts::{has_each_row_once, nothing_is_left, wait_for_squares};
use crate::program::{Program, has_ended};

/// How long a host is without one member: longer than the lease of a leader.
const WITHOUT: Duration = Duration::from_secs(3);

/// The program runs on a deployment, and waits for its first step.
struct Begun {
    bed: Deployment,
    program: Program,
    leader: usize,
    before: Value,
}

impl Begun {
    #[track_caller]
    fn begin() -> Self {
        let bed = Deployment::on_machines().start(HOSTS);
        let program = Program::submit(&bed, 0, "main");
        program.runs();
        let leader = bed.leader(0, "squares").expect("an application that is led names its host");
        let before = bed.host(leader).status("squares")["leadership"].clone();
        Self { bed, program, leader, before }
    }

    /// The numbers of the hosts that do not lead.
    fn others(&self) -> impl Iterator<Item = usize> {
        (0..HOSTS).filter(|number| *number != self.leader)
    }

    /// What the leader's host is called on the network.
    fn name(&self) -> String {
        LocalCluster::host(self.leader)
    }

    fn is_stale(&self, through: usize) -> bool {
        self.bed.host(through).status("squares")["observation"]["stale"] == true
    }

    /// Brings the application to its end, and checks that one leader and one main() did it all.
    #[track_caller]
    fn ends_undisturbed(self) {
        let Self { bed, program, leader, before } = &self;
        program.go("report");
        wait_for_squares(bed, *leader, "clean").exits(0);
        has_each_row_once(bed, *leader, &program.out);
        let led: Vec<Value> = bed.host(*leader).events("squares");
        let led = led.iter().filter(|event| event["kind"] == "leader").count();
        assert_eq!(led, 1, "one leader from {before:#}");
        assert_eq!(program.ran_alone(), 1);
        nothing_is_left(bed, &[0, 1, 2]);
    }
}

#[test]
fn hosts_that_do_not_hear_each_other_show_what_they_last_knew_and_disturb_nothing() {
    let begun = Begun::begin();
    for number in 0..HOSTS {
        eventually("each host knows how the leader does", || !begun.is_stale(number));
    }
    let others: Vec<String> = begun.others().map(LocalCluster::host).collect();
    begun.bed.machines().cut(&Cut::new(begun.name(), others, Way::Both));
    for number in begun.others() {
        eventually("a host that does not hear the leader's says so", || begun.is_stale(number));
        let shown = begun.bed.host(number).run(&["status", "squares"]).exits(0).stdout;
        assert!(shown.contains("STALE") && shown.contains("last known RUNNING"), "{shown}");
    }
    assert!(!begun.is_stale(begun.leader), "the leader's own host hears its leader");
    begun.program.go("squares");
    for number in 0..HOSTS {
        eventually("each host shows the end of the job", || {
            has_ended(&begun.bed, number, "squares")
        });
    }
    begun.bed.machines().heal();
    for number in begun.others() {
        eventually("it knows again how the leader does", || !begun.is_stale(number));
    }
    begun.ends_undisturbed();
}

#[test]
fn a_leader_that_is_cut_off_from_any_one_member_leads_on() {
    let begun = Begun::begin();
    for member in LocalCluster::MEMBERS {
        begun.bed.machines().cut(&Cut::new(begun.name(), [member], Way::Both));
        std::thread::sleep(WITHOUT);
        let now = begun.bed.host(begun.leader).status("squares");
        for field in ["epoch", "leader", "leaderPid"] {
            assert_eq!(now["leadership"][field], begun.before[field], "{member}: {now:#}");
        }
        // The last cut is there while the job is run.
        if member != LocalCluster::MEMBERS[2] {
            begun.bed.machines().heal();
        }
    }
    begun.program.go("squares");
    eventually("the job ends", || has_ended(&begun.bed, begun.leader, "squares"));
    begun.bed.machines().heal();
    begun.ends_undisturbed();
}
