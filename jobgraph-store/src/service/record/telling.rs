//! What a leader adds to the past, and the conditions that it sees now.

use proto::{EpochFence, api};

use crate::error::Error;
use crate::model::Refusal;
use crate::model::event::Telling;
use crate::service::Service;
use crate::service::write::Guard;

/// The most events of one call.
const MAX_EVENTS: usize = 64;

/// The most conditions of one call.
const MAX_CONDITIONS: usize = 16;

impl Service {
    /// Adds events to the past, and sets the conditions that the leader sees now.
    pub(super) async fn append(
        &self,
        fence: &EpochFence,
        events: &[api::Event],
        conditions: &[api::Condition],
    ) -> Result<(), Error> {
        if events.len() > MAX_EVENTS {
            return Err(Refusal::RequestInvalid(format!(
                "{} events; at most {MAX_EVENTS} a call",
                events.len()
            ))
            .into());
        }
        if conditions.len() > MAX_CONDITIONS {
            let text = format!("{} conditions; at most {MAX_CONDITIONS} a call", conditions.len());
            return Err(Refusal::RequestInvalid(text).into());
        }
        let write = self.write(&fence.application, Guard::Epoch, |draft| {
            draft.dossier.check_epoch(fence)?;
            for seen in conditions {
                draft.condition(&seen.r#type, seen.status(), &seen.reason, &seen.message);
            }
            for event in events {
                let (at, source) = (event.at, event.source.clone());
                let source =
                    if source.is_empty() { draft.dossier.attempt.holder.clone() } else { source };
                draft.tell_from(Telling::of(event.clone()), source, fence.epoch.get());
                if let (Some(told), Some(at)) = (draft.events.last_mut(), at) {
                    told.at = Some(at);
                }
            }
            Ok(())
        });
        write.await?;
        Ok(())
    }
}
