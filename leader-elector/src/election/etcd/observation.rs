//! One observer's look, over the board.

use std::sync::Arc;

use async_trait::async_trait;
use proto::ApplicationId;

use super::Shared;
use super::seats::Led;
use crate::election::Observation;
use crate::error::Error;
use crate::model::View;

/// One observer's look.
pub(super) struct EtcdObservation {
    shared: Arc<Shared>,
    application: ApplicationId,
    told: Option<View>,
}

impl EtcdObservation {
    pub(super) fn of(shared: Arc<Shared>, application: ApplicationId) -> Self {
        Self { shared, application, told: None }
    }
}

#[async_trait]
impl Observation for EtcdObservation {
    async fn next(&mut self) -> Result<View, Error> {
        let mut board = self.shared.board.changes();
        let mut desks = self.shared.desks.changes();
        loop {
            board.borrow_and_update();
            desks.borrow_and_update();
            let (seat, _) = self.shared.board.seat(&self.application);
            let standbys = self.shared.desks.waiting(&self.application);
            let view = View { leader: seat?.leader.as_ref().map(Led::leader), standbys };
            if self.told.as_ref() != Some(&view) {
                self.told = Some(view.clone());
                return Ok(view);
            }
            tokio::select! {
                _ = board.changed() => {}
                _ = desks.changed() => {}
            }
        }
    }
}
