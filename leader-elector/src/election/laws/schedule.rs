//! Law 1 over many random lives: a contender that judges by its own last acknowledged renewal is
//! alone.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chassis::clock::{Boot, Clock as _};
use proto::Epoch;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::rig::{Rig, Verdict, enter, so};
use crate::election::{Campaign, Election};
use crate::model::{Enter, Position};

/// One contender process, judging for itself whether it leads.
struct Contender {
    name: String,
    lock: PathBuf,
    campaign: Option<Box<dyn Campaign>>,
    /// The leadership that the contender believes in, and until when.
    claim: Option<(Epoch, Boot)>,
    /// The epoch of an election that no renewal has confirmed yet.
    elected: Option<Epoch>,
    /// When a renewal was sent that the elector has not taken yet.
    on_the_way: Option<Boot>,
}

pub(super) async fn at_most_one_holder_at_a_time(rig: &Rig) -> Verdict {
    for seed in 0..rig.lives() {
        one_life(rig, seed).await.map_err(|broken| format!("seed {seed}: {broken}"))?;
        // Every lease of the life before has run out.
        rig.advance(rig.lease * 4).await;
    }
    Ok(())
}

async fn one_life(rig: &Rig, seed: u64) -> Verdict {
    let mut random = StdRng::seed_from_u64(seed);
    let mut election = Some(rig.open().await);
    let mut contenders: Vec<Contender> = (0..3)
        .map(|n| Contender {
            name: format!("runner-{n}"),
            lock: format!("/lock-{n}").into(),
            campaign: None,
            claim: None,
            elected: None,
            on_the_way: None,
        })
        .collect();
    let mut highest = Epoch(0);
    for _ in 0..rig.steps() {
        let at = random.random_range(0..contenders.len());
        match random.random_range(0..100) {
            0..35 => rig.advance(rig.lease.mul_f64(random.random_range(0.0..0.4))).await,
            35..85 => {
                act(rig, election.as_ref().unwrap(), &mut contenders[at], &mut random).await?
            }
            85..92 => contenders[at].campaign = None,
            92..97 => contenders[at].dies(rig),
            _ => {
                for contender in &mut contenders {
                    contender.campaign = None;
                }
                election = None;
                rig.advance(Duration::from_millis(random.random_range(0..500))).await;
                election.replace(rig.open().await);
            }
        }
        highest = alone(rig, &contenders, highest)?;
    }
    drop(contenders);
    drop(election);
    Ok(())
}

/// A contender lives a little: it enters, listens, or sends a renewal that may take its time.
async fn act(
    rig: &Rig,
    election: &Arc<dyn Election>,
    who: &mut Contender,
    random: &mut StdRng,
) -> Verdict {
    let Some(campaign) = &mut who.campaign else {
        rig.locks.hold(&who.lock);
        let resume = who.claim.map(|(epoch, _)| epoch);
        who.on_the_way = None;
        let enter = Enter { resume, lock_file: Some(who.lock.clone()), ..enter(&who.name) };
        who.campaign = Some(election.enter(enter).await.unwrap());
        return Ok(());
    };
    match rig.heard(campaign).await {
        Some(Position::Elected(elected)) => who.elected = Some(elected.epoch),
        Some(Position::Lost(_)) => return who.lost(),
        Some(Position::Standby(_)) | None => {}
    }
    let Some(epoch) = who.elected else { return Ok(()) };
    let sent = *who.on_the_way.get_or_insert_with(|| rig.clock.boot());
    if random.random_bool(0.3) {
        return Ok(());
    }
    who.on_the_way = None;
    match campaign.renew().await.unwrap() {
        Ok(()) => who.claim = Some((epoch, sent + rig.lease * 3 / 4)),
        Err(_) => who.lost()?,
    }
    Ok(())
}

impl Contender {
    fn lost(&mut self) -> Verdict {
        (self.campaign, self.claim, self.elected, self.on_the_way) = (None, None, None, None);
        Ok(())
    }

    /// kill -9: the stream breaks, the lock is free, and no process is left that believes to lead.
    fn dies(&mut self, rig: &Rig) {
        (self.campaign, self.claim, self.elected, self.on_the_way) = (None, None, None, None);
        rig.locks.release(&self.lock);
    }
}

/// At most one contender believes to lead right now, and no believed epoch is below one that was
/// believed before, except the contender's own.
fn alone(rig: &Rig, contenders: &[Contender], highest: Epoch) -> Result<Epoch, String> {
    let now = rig.clock.boot();
    let believers: Vec<_> = contenders
        .iter()
        .filter_map(|who| {
            who.claim.filter(|(_, deadline)| now < *deadline).map(|(epoch, _)| (&who.name, epoch))
        })
        .collect();
    so(believers.len() <= 1, format!("at the same time: {believers:?}"))?;
    let believed = believers.first().map_or(highest, |(_, epoch)| *epoch);
    so(believed >= highest, format!("epoch {believed} is believed after {highest}"))?;
    Ok(believed)
}
