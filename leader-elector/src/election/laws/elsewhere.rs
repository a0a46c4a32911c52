//! Standbys that wait at one elector are told of at another, for as long as they wait.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use chassis::clock::Clock as _;

use super::rig::{Rig, Verdict, application, enter, renewed, so};
use crate::election::standbys::WithStandbys;
use crate::election::{Campaign, Election as _, Observation};

/// Longer than an elector takes until it has told, and until a lease of one that is gone has ended.
const LONG: Duration = Duration::from_secs(20);

/// Two electors over one etcd. At the first one a contender leads and an observer looks on.
struct Two {
    rig: Rig,
    leader: Box<dyn Campaign>,
    observation: Box<dyn Observation>,
    /// What was observed last.
    standbys: Vec<String>,
    _here: WithStandbys,
    there: WithStandbys,
}

impl Two {
    async fn begin() -> Result<Self, String> {
        let rig = Rig::in_memory();
        let (here, there) = (elector(&rig).await, elector(&rig).await);
        let mut leader = here.enter(enter("a/runner-0")).await.unwrap();
        rig.won(&mut leader).await?;
        let observation = here.observe(&application(1).id).await.unwrap();
        Ok(Self { rig, leader, observation, standbys: Vec::new(), _here: here, there })
    }

    /// A contender that waits at the second elector.
    async fn standby(&self, holder: &str) -> Result<Box<dyn Campaign>, String> {
        let mut standby = self.there.enter(enter(holder)).await.unwrap();
        self.rig.waits(&mut standby).await?;
        Ok(standby)
    }

    /// Lets one step pass, in which the leader renews, and notes what the observer hears.
    async fn step(&mut self) -> Verdict {
        self.rig.advance(self.rig.step()).await;
        renewed(&mut self.leader).await?;
        loop {
            tokio::select! {
                biased;
                view = self.observation.next() => self.standbys = view.unwrap().standbys,
                () = self.rig.quiet() => return Ok(()),
            }
        }
    }

    /// Lets time pass until the observer has heard of these standbys.
    async fn hears_of(&mut self, standbys: &[&str]) -> Verdict {
        let end = self.rig.clock.boot() + LONG;
        while self.standbys != standbys && self.rig.clock.boot() < end {
            self.step().await?;
        }
        so(self.standbys == standbys, format!("{:?}, not {standbys:?}", self.standbys))
    }
}

async fn elector(rig: &Rig) -> WithStandbys {
    WithStandbys::over(rig.open().await, rig.client().await, "/laws").await.unwrap()
}

#[tokio::test]
async fn a_standby_is_told_of_at_another_elector_while_it_waits() -> Verdict {
    let mut two = Two::begin().await?;
    let first = two.standby("b/runner-0").await?;
    two.hears_of(&["b/runner-0"]).await?;
    let second = two.standby("b/runner-1").await?;
    two.hears_of(&["b/runner-0", "b/runner-1"]).await?;
    let end = two.rig.clock.boot() + LONG;
    while two.rig.clock.boot() < end {
        two.step().await?;
        so(two.standbys.len() == 2, format!("{:?}, although both wait", two.standbys))?;
    }
    drop(first);
    two.hears_of(&["b/runner-1"]).await?;
    drop(second);
    two.hears_of(&[]).await
}

#[tokio::test]
async fn a_standby_that_leads_is_no_standby() -> Verdict {
    let mut two = Two::begin().await?;
    let mut next = two.standby("b/runner-0").await?;
    let _last = two.standby("b/runner-1").await?;
    two.hears_of(&["b/runner-0", "b/runner-1"]).await?;
    // The leader is silent from now on.
    two.rig.outlast_the_lease().await;
    two.rig.won(&mut next).await?;
    two.leader = next;
    two.hears_of(&["b/runner-1"]).await
}

#[tokio::test]
async fn standbys_of_an_elector_that_is_gone_are_told_of_no_more() -> Verdict {
    let mut two = Two::begin().await?;
    let standby = two.standby("b/runner-0").await?;
    two.hears_of(&["b/runner-0"]).await?;
    two.there = elector(&two.rig).await;
    drop(standby);
    two.hears_of(&[]).await
}
