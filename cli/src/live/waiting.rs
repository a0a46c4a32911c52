//! What the watch says while an application waits for room on its host.

use std::time::Duration;

use chassis::clock::Boot;
use proto::Reason;
use proto::api::{Application, Phase, QueuePlace};

/// How often a place that moves is said anew at most.
const EVERY: Duration = Duration::from_secs(10);

/// The place that was said last, and when.
#[derive(Debug, Default)]
pub(crate) struct LastPlace {
    said: Option<(Boot, u32)>,
}

impl LastPlace {
    /// The line to say about this place: the first time, and when the place has moved and nothing
    /// was said for a while.
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

/// Takes over what a bookmark says of the application's place, because the place changes without a
/// new revision.
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
        let mut last = LastPlace::default();
        let mut told = |position, second: u64| {
            let place = QueuePlace { position, length: 9, ..QueuePlace::default() };
            last.told(&place, Boot::from_nanos(second * 1_000_000_000)).is_some()
        };
        assert!(told(9, 0), "at once");
        assert!(!told(8, 9), "a moment later");
        assert!(told(7, 10), "it has moved");
        assert!(!told(7, 60), "it has not");
    }
}
