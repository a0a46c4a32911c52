//! What is said while an application waits for room on its host.

use std::time::Duration;

use chassis::clock::Boot;
use proto::Reason;
use proto::api::{Application, Phase, QueuePlace};

/// A place that moves is said anew only so often.
const EVERY: Duration = Duration::from_secs(10);

/// What was said last.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    said: Option<(Boot, u32)>,
}

impl Waiting {
    /// What there is to say of this place: at first, and when it has moved and nothing was said for a while.
    pub(crate) fn told(&mut self, place: &QueuePlace, now: Boot) -> Option<String> {
        if let Some((at, position)) = self.said
            && (position == place.position || now.saturating_duration_since(at) < EVERY)
        {
            return None;
        }
        self.said = Some((now, place.position));
        Some(place.message.clone())
    }
}

/// What a bookmark says of an application's place, which changes without a revision.
pub(crate) fn note(application: &mut Application, place: Option<QueuePlace>) {
    match &place {
        Some(place) => {
            application.set_phase(Phase::Queued);
            application.reason = Reason::HostFull.to_string();
            application.message.clone_from(&place.message);
        }
        None if application.phase() == Phase::Queued => {
            application.set_phase(Phase::Submitted);
            application.reason.clear();
            application.message.clear();
        }
        None => {}
    }
    application.queue = place;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_at_once_and_then_when_it_has_moved_and_time_has_passed() {
        let mut waiting = Waiting::default();
        let mut told = |position, second: u64| {
            let place = QueuePlace { position, length: 9, ..QueuePlace::default() };
            waiting.told(&place, Boot::from_nanos(second * 1_000_000_000)).is_some()
        };
        assert!(told(9, 0), "at once");
        assert!(!told(8, 9), "a moment later");
        assert!(told(7, 10), "it has moved");
        assert!(!told(7, 60), "it has not");
    }
}
