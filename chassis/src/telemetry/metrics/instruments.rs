//! The instruments: constants of the files that use them, made by the first number.

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram};

use super::meter;

/// The upper ends of the buckets of [`Took`], in seconds: from a commit in memory to a call that
/// waits for a process.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The labels of a number, by name. Their values are words of a short list.
pub type Labels<'a> = [(&'static str, &'a str)];

/// What an instrument measures.
struct About {
    name: &'static str,
    help: &'static str,
}

/// How often something happened, or how much of it there was, since the process started.
pub struct Count {
    about: About,
    made: OnceLock<Counter<u64>>,
}

/// How much of something there is right now.
pub struct Level {
    about: About,
    made: OnceLock<Gauge<u64>>,
}

/// Shows numbers that are looked up whenever they are asked for. `look` says each of them, with its
/// labels; it has a few milliseconds. The unit is one of UCUM, such as `s` or `By`.
pub fn look_up(
    name: &'static str,
    unit: &'static str,
    help: &'static str,
    look: impl Fn(&mut dyn FnMut(f64, &Labels<'_>)) + Send + Sync + 'static,
) {
    let meter = meter();
    let builder = meter.f64_observable_gauge(name).with_unit(unit).with_description(help);
    let _ = builder
        .with_callback(move |shown| look(&mut |now, labels| shown.observe(now, &pairs(labels))))
        .build();
}

/// How long something took, in seconds.
pub struct Took {
    about: About,
    made: OnceLock<Histogram<f64>>,
}

impl Count {
    /// A count with this name, which says to people what `help` says.
    pub const fn new(name: &'static str, help: &'static str) -> Self {
        Self { about: About { name, help }, made: OnceLock::new() }
    }

    /// Counts `more`.
    pub fn add(&self, more: u64, labels: &Labels<'_>) {
        let make = || {
            let meter = meter();
            let builder = meter.u64_counter(self.about.name);
            builder.with_description(self.about.help).build()
        };
        self.made.get_or_init(make).add(more, &pairs(labels));
    }
}

impl Level {
    /// A level with this name, which says to people what `help` says.
    pub const fn new(name: &'static str, help: &'static str) -> Self {
        Self { about: About { name, help }, made: OnceLock::new() }
    }

    /// Says how much there is now.
    pub fn set(&self, now: usize, labels: &Labels<'_>) {
        let make = || {
            let meter = meter();
            let builder = meter.u64_gauge(self.about.name);
            builder.with_description(self.about.help).build()
        };
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        self.made.get_or_init(make).record(now, &pairs(labels));
    }
}

impl Took {
    /// A duration with this name, which says to people what `help` says.
    pub const fn new(name: &'static str, help: &'static str) -> Self {
        Self { about: About { name, help }, made: OnceLock::new() }
    }

    /// Takes note of one.
    pub fn record(&self, took: Duration, labels: &Labels<'_>) {
        let make = || {
            let meter = meter();
            let builder = meter.f64_histogram(self.about.name).with_unit("s");
            builder.with_description(self.about.help).with_boundaries(BUCKETS.to_vec()).build()
        };
        self.made.get_or_init(make).record(took.as_secs_f64(), &pairs(labels));
    }
}

fn pairs(labels: &Labels<'_>) -> Vec<KeyValue> {
    labels.iter().map(|(name, value)| KeyValue::new(*name, (*value).to_owned())).collect()
}
