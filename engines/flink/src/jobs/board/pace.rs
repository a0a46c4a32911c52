//! How often the JobManager is asked for running jobs.

use std::time::Duration;

use chassis::clock::Boot;

/// The pause while something happens, which makes at most four reports a second.
const OFTEN: Duration = Duration::from_millis(250);

/// The pause once jobs only run.
const CALMLY: Duration = Duration::from_secs(1);

/// The pause between questions for counters once jobs only run, because for each answer the
/// TaskManagers report all their metrics, which costs what their tasks could use.
const COUNT_CALMLY: Duration = Duration::from_secs(5);

/// How long after a change of a job's state something may still happen.
const CALM_AFTER: Duration = Duration::from_secs(10);

/// When a state changed last, and when counters were asked for.
pub(super) struct Pace {
    changed: Boot,
    counted: Option<Boot>,
}

impl Pace {
    pub(super) fn new(now: Boot) -> Self {
        Self { changed: now, counted: None }
    }

    /// Notes that a job's state has changed.
    pub(super) fn changed(&mut self, now: Boot) {
        self.changed = now;
    }

    /// The pause until the next question.
    pub(super) fn pause(&self, now: Boot) -> Duration {
        if self.is_calm(now) { CALMLY } else { OFTEN }
    }

    /// Whether the next question asks for counters too.
    pub(super) fn counts(&mut self, now: Boot) -> bool {
        let counts =
            !self.is_calm(now) || self.counted.is_none_or(|counted| now >= counted + COUNT_CALMLY);
        if counts {
            self.counted = Some(now);
        }
        counts
    }

    fn is_calm(&self, now: Boot) -> bool {
        now >= self.changed + CALM_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many questions are asked in so many seconds from `now` on, and how many of them ask for
    /// counters.
    fn asked(pace: &mut Pace, now: &mut Boot, seconds: u64) -> (usize, usize) {
        let end = *now + Duration::from_secs(seconds);
        let (mut all, mut counts) = (0, 0);
        while *now < end {
            *now = *now + pace.pause(*now);
            all += 1;
            counts += usize::from(pace.counts(*now));
        }
        (all, counts)
    }

    #[test]
    fn a_job_that_only_runs_is_asked_rarely_until_something_happens() {
        let mut now = Boot::default();
        let mut pace = Pace::new(now);
        assert_eq!(asked(&mut pace, &mut now, 10), (40, 39), "the last one finds it calm");
        assert_eq!(asked(&mut pace, &mut now, 60), (60, 12));
        pace.changed(now);
        assert_eq!(asked(&mut pace, &mut now, 5), (20, 20));
    }
}
