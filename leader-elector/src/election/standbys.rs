//! The standbys of all electors, for people.
//!
//! Who leads is one key that every elector sees, but a queue is known only to the elector that
//! keeps it. So each elector tells the others who waits there (`standbys/roll.rs`), and an observer
//! hears of all. No campaign depends on it: what is told may be late.

mod roll;

use std::sync::Arc;

use ::etcd::Etcd;
use async_trait::async_trait;
use chassis::tasks::{OwnedTask, owned};
use proto::{ApplicationId, EpochFence};

use super::{Campaign, Election, Observation};
use crate::error::Error;
use crate::model::{Cause, Enter, Position, View};
use roll::Roll;

/// An election whose observers hear of the standbys of all electors.
pub struct WithStandbys {
    election: Arc<dyn Election>,
    roll: Arc<Roll>,
    /// Tells the other electors for as long as this one is there.
    _telling: OwnedTask<()>,
}

impl WithStandbys {
    /// The election, with the standbys that all electors tell of below `prefix`.
    pub async fn over(
        election: Arc<dyn Election>,
        etcd: Etcd,
        prefix: &str,
    ) -> Result<Self, Error> {
        let roll = Arc::new(Roll::open(etcd, prefix).await?);
        let telling = owned("election-standbys", roll.clone().keep_telling());
        Ok(Self { election, roll, _telling: telling })
    }
}

#[async_trait]
impl Election for WithStandbys {
    async fn enter(&self, enter: Enter) -> Result<Box<dyn Campaign>, Error> {
        let place = Place {
            roll: self.roll.clone(),
            application: enter.application.id.clone(),
            holder: enter.holder.clone(),
            number: None,
        };
        let campaign = self.election.enter(enter).await?;
        Ok(Box::new(ListedCampaign { campaign, place }))
    }

    async fn observe(&self, application: &ApplicationId) -> Result<Box<dyn Observation>, Error> {
        let observation = self.election.observe(application).await?;
        let (roll, application) = (self.roll.clone(), application.clone());
        Ok(Box::new(FullObservation { observation, roll, application, seen: None, told: None }))
    }

    async fn resign(&self, fence: &EpochFence, holder: &str) -> Result<bool, Error> {
        self.election.resign(fence, holder).await
    }
}

/// A campaign that is on the roll while it waits.
struct ListedCampaign {
    campaign: Box<dyn Campaign>,
    place: Place,
}

#[async_trait]
impl Campaign for ListedCampaign {
    async fn next(&mut self) -> Result<Position, Error> {
        let position = self.campaign.next().await?;
        match &position {
            Position::Standby(_) => self.place.take(),
            Position::Elected(_) | Position::Lost(_) => self.place.leave(),
        }
        Ok(position)
    }

    async fn renew(&mut self) -> Result<Result<(), Cause>, Error> {
        self.campaign.renew().await
    }

    fn leave_open(self: Box<Self>) {
        self.campaign.leave_open();
    }
}

/// A contender's place on the roll, which it has from its first wait until it leads or goes.
struct Place {
    roll: Arc<Roll>,
    application: ApplicationId,
    holder: String,
    number: Option<u64>,
}

impl Place {
    fn take(&mut self) {
        if self.number.is_none() {
            self.number = Some(self.roll.enter(&self.application, &self.holder));
        }
    }

    fn leave(&mut self) {
        if let Some(number) = self.number.take() {
            self.roll.leave(number);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

/// A look at one election and at the roll.
struct FullObservation {
    observation: Box<dyn Observation>,
    roll: Arc<Roll>,
    application: ApplicationId,
    /// What this elector knows itself.
    seen: Option<View>,
    told: Option<View>,
}

impl FullObservation {
    /// What this elector knows itself, and the standbys of the others. One that leads by now is
    /// none, whatever its elector told last.
    fn view(&self) -> Option<View> {
        let mut view = self.seen.clone()?;
        let leader = view.leader.as_ref().map(|leader| leader.holder.as_str());
        let others = self.roll.elsewhere(&self.application).into_iter();
        let others: Vec<_> = others.filter(|name| Some(name.as_str()) != leader).collect();
        view.standbys.extend(others);
        Some(view)
    }
}

#[async_trait]
impl Observation for FullObservation {
    async fn next(&mut self) -> Result<View, Error> {
        let mut roll = self.roll.changes();
        loop {
            roll.borrow_and_update();
            if let Some(view) = self.view().filter(|view| self.told.as_ref() != Some(view)) {
                self.told = Some(view.clone());
                return Ok(view);
            }
            tokio::select! {
                seen = self.observation.next() => self.seen = Some(seen?),
                // Waiting cannot fail: the sender is in `self`.
                _ = roll.changed() => {}
            }
        }
    }
}
