//! The spans of one trace, and which span is the parent of which.

use std::collections::BTreeSet;
use std::fmt::{Display, Formatter, Result};

use crate::collector::Span;

/// One trace.
pub(crate) struct Trace {
    spans: Vec<Span>,
    /// Spans that were received and are part of another trace.
    pub(crate) outside: Vec<Span>,
}

impl Trace {
    /// The one trace that this application's spans are part of.
    #[track_caller]
    pub(crate) fn of(application: &str, received: Vec<Span>) -> Self {
        let named = received.iter().filter(|span| span.has("app.id", application));
        let traces: BTreeSet<String> = named.map(|span| span.trace.clone()).collect();
        let all = Self { spans: received, outside: Vec::new() };
        assert_eq!(traces.len(), 1, "{application} is in {traces:?}\n{all}");
        let (spans, outside) = all.spans.into_iter().partition(|span| traces.contains(&span.trace));
        Self { spans, outside }
    }

    /// The names of the processes that have a part in it.
    pub(crate) fn services(&self) -> BTreeSet<&str> {
        self.spans.iter().map(|span| span.service.as_str()).collect()
    }

    /// All spans of a process with this name, or with this as its last part.
    pub(crate) fn all(&self, service: &str, name: &str) -> Vec<&Span> {
        let named =
            |span: &&Span| span.service == service && span.name.rsplit('/').next() == Some(name);
        self.spans.iter().filter(named).collect()
    }

    /// The only span of a process with this name.
    #[track_caller]
    pub(crate) fn only(&self, service: &str, name: &str) -> &Span {
        let found = self.all(service, name);
        assert_eq!(found.len(), 1, "{name} ({service})\n{self}");
        found[0]
    }

    /// The spans without a parent among these.
    pub(crate) fn roots(&self) -> Vec<&Span> {
        self.spans.iter().filter(|span| self.parent(span).is_none()).collect()
    }

    fn parent(&self, span: &Span) -> Option<&Span> {
        self.spans.iter().find(|other| other.id == span.parent && other.trace == span.trace)
    }

    /// Panics unless each span is the parent of the next.
    #[track_caller]
    pub(crate) fn descend(&self, line: &[&Span]) {
        for pair in line.windows(2) {
            assert_eq!(
                pair[1].parent, pair[0].id,
                "{} is not below {}\n{self}",
                pair[1].name, pair[0].name
            );
        }
    }

    /// A span directly below another one.
    #[track_caller]
    pub(crate) fn below(&self, parent: &Span, service: &str, name: &str) -> &Span {
        let found = self.all(service, name).into_iter().find(|span| span.parent == parent.id);
        found.unwrap_or_else(|| {
            panic!("no {name} ({service}) below {} ({})\n{self}", parent.name, parent.service)
        })
    }
}

/// Prints the trace as a tree, for the reader of a failed test.
impl Display for Trace {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.roots().into_iter().try_for_each(|root| self.write(root, 0, f))
    }
}

impl Trace {
    fn write(&self, span: &Span, depth: usize, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}{} ({})", "  ".repeat(depth), span.name, span.service)?;
        for (key, value) in &span.attributes {
            if ["app.id", "epoch", "job.name", "rpc.code"].contains(&key.as_str()) {
                write!(f, " {key}={value}")?;
            }
        }
        writeln!(f)?;
        let children =
            self.spans.iter().filter(|child| child.parent == span.id && child.trace == span.trace);
        children.into_iter().try_for_each(|child| self.write(child, depth + 1, f))
    }
}
