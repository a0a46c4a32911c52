//! A look at what a record has outside the state directory: its etcd, and the place of its
//! payloads. Each finding says what a store would be refused for if it were started now.
//!
//! No claim is made, and nothing is written. Every question has a bound, so that a member or a
//! mount that hangs is named and does not hold the look.

use std::path::Path;
use std::time::Duration;

use ::etcd::{Error, Etcd, EtcdArgs, Member};
use chassis::clock::{Clock as _, SharedClock};
use chassis::transport::SharedTransport;
use client::places::Places;
use futures::future::join_all;

use super::{PLACE, RECORD};
use crate::backend::claim::{self, Claimant};
use crate::backend::seen::{Returned, Seen, Standing};
use crate::backend::{Place, is_in_a_file, names_no_etcd, read_place};
use crate::blobs::shared;
use crate::config::Args;
use crate::keys::{self, kept};
use crate::store::etcd::Look;
use crate::store::{Key, Read, Stored, View};

/// How many entries below each beginning are looked at for what a newer build has written.
const LOOKED_AT: usize = 200;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What it is, in a word or two.
    pub what: &'static str,
    /// What there is to say of it.
    pub text: String,
    /// What is wrong with it, and what to do.
    pub problem: Option<String>,
}

/// Looks at what the record of these settings has outside the state directory; nothing if all of it
/// is there.
pub async fn elsewhere(
    args: &Args,
    transport: &SharedTransport,
    clock: &SharedClock,
) -> Vec<Found> {
    let places = args.places();
    let state = places.service_state(Args::SERVICE);
    let mut all = Vec::new();
    if let Err(refused) = args.check() {
        all.push(found("settings", "of the record", Some(refused.to_string())));
    }
    let known = match read_place(&state.join(PLACE)) {
        Ok(known) => known,
        Err(error) => {
            all.push(found("record", "on etcd", Some(format!("{error:#}"))));
            return all;
        }
    };
    let mut of_payloads = None;
    if !args.etcd.is_given() {
        all.extend(
            known.map(|place| found("record", "on etcd", Some(names_no_etcd(&state, &place)))),
        );
    } else if state.join(RECORD).exists() {
        let problem = is_in_a_file(&state, &state.join(RECORD));
        all.push(found("etcd", "is not used", Some(problem)));
    } else {
        let (members, cluster) = members(&args.etcd, transport, clock).await;
        all.push(members);
        if let Some(cluster) = cluster
            && let Ok(etcd) = Etcd::of(&args.etcd, transport, clock).await
        {
            let look = Look::below(etcd, &args.etcd.prefix);
            let record = Record { places: &places, state: &state, known, cluster, look: &look };
            let text = format!("on etcd below {}", args.etcd.prefix);
            all.push(match record.look(&args.etcd).await {
                Ok(whose) => found("record", format!("{text}, {whose}"), None),
                Err(problem) => found("record", text, Some(problem)),
            });
            of_payloads = look.read(&shared::reads()).await.ok();
        }
    }
    let payloads = shared::look(&args.blobs, of_payloads, clock).await;
    all.extend(payloads.map(|(place, problem)| found("place of payloads", place, problem)));
    all
}

fn found(what: &'static str, text: impl Into<String>, problem: Option<String>) -> Found {
    Found { what, text: text.into(), problem }
}

/// What one member of etcd answered.
struct Asked<'a> {
    member: &'a Member,
    cluster: Result<u64, Error>,
    took: Duration,
}

/// Asks each member by itself, all at once. Answers also the id of their cluster, if one of them
/// told it.
async fn members(
    settings: &EtcdArgs,
    transport: &SharedTransport,
    clock: &SharedClock,
) -> (Found, Option<u64>) {
    let each = settings.members.iter().map(|member| ask(settings, member, transport, clock));
    told(&join_all(each).await)
}

async fn ask<'a>(
    settings: &EtcdArgs,
    member: &'a Member,
    transport: &SharedTransport,
    clock: &SharedClock,
) -> Asked<'a> {
    let alone = EtcdArgs { members: vec![member.clone()], ..settings.clone() };
    let began = clock.boot();
    let cluster = match Etcd::of(&alone, transport, clock).await {
        Ok(etcd) => Look::below(etcd, &alone.prefix).cluster().await,
        Err(error) => Err(error),
    };
    Asked { member, cluster, took: clock.boot().saturating_duration_since(began) }
}

/// What the answers of all members come to.
fn told(asked: &[Asked<'_>]) -> (Found, Option<u64>) {
    let (mut answering, mut silent, mut clusters) = (Vec::new(), Vec::new(), Vec::new());
    for Asked { member, cluster, took } in asked {
        match cluster {
            Ok(cluster) => {
                answering.push(format!("{member} {} ms", took.as_millis()));
                clusters.push(*cluster);
            }
            Err(error) => silent.push((member, error)),
        }
    }
    clusters.sort_unstable();
    clusters.dedup();
    let count = (answering.len(), asked.len());
    let mut text = format!("{} of {} members answer", count.0, count.1);
    if !answering.is_empty() {
        text = format!("{text} ({})", answering.join(", "));
    }
    let problem = match (silent.as_slice(), clusters.as_slice()) {
        ([], [] | [_]) => None,
        ([], several) => {
            let ids: Vec<_> = several.iter().map(|id| format!("{id:x}")).collect();
            Some(format!(
                "they are of several clusters ({}): name the members of one with MAINSPRING_ETCD",
                ids.join(", ")
            ))
        }
        // What a setting lacks is the same for all members.
        ([(_, error), ..], _) if !error.is_away() => Some(way_out(error)),
        (silent, _) => {
            // What TLS refuses is told with the way out of it.
            let mut each: Vec<_> = silent.iter().map(|(at, error)| told_of(at, error)).collect();
            if silent.iter().any(|(_, error)| !matches!(error, Error::Untrusted(_))) {
                each.push(
                    "start it, see to the network between, or name the members that are there \
                     with MAINSPRING_ETCD"
                        .to_owned(),
                );
            }
            Some(each.join("; "))
        }
    };
    (found("etcd", text, problem), clusters.first().copied())
}

/// Why a member does not answer.
fn told_of(member: &Member, error: &Error) -> String {
    match error {
        // The text names the member.
        Error::Untrusted(why) => why.clone(),
        error => format!("{member}: {error}"),
    }
}

/// An error of etcd, with what to do where the error does not say it.
fn way_out(error: &Error) -> String {
    match error {
        Error::Full(_) => format!(
            "{error}; compact and defragment etcd or raise its quota, then clear its alarm \
             (etcdctl alarm disarm)"
        ),
        _ => error.to_string(),
    }
}

/// The record of a state directory, on an etcd that answers.
struct Record<'a> {
    places: &'a Places,
    state: &'a Path,
    /// The record that the directory belongs to, once it belongs to one.
    known: Option<Place>,
    /// The id of the cluster that answers.
    cluster: u64,
    look: &'a Look,
}

impl Record<'_> {
    /// Says whose the record is, or why this host's store would not serve it.
    async fn look(&self, settings: &EtcdArgs) -> Result<String, String> {
        let text = |error: anyhow::Error| format!("{error:#}");
        let prefix = &settings.prefix;
        // A store at work may note more at any moment, so the note is read before the record.
        let seen = Seen::read(self.state).map_err(text)?;
        let returned = Returned::of(self.read(&Returned::reads()).await?).map_err(text)?;
        let last = self.look.last_commit().await.map_err(|error| way_out(&error))?;
        let mut writer = "";
        if let Some(known) = &self.known {
            writer = &known.writer;
            let standing = seen.judge(last, &returned);
            let place = Place::of(self.cluster, prefix, known.writer.clone());
            if !known.may_become(&place, standing) {
                return Err(known.is_not(&place, self.state, settings));
            }
            if standing == Standing::Behind {
                return Err(seen.why_not(last, prefix));
            }
        }
        let claimant = Claimant { writer, prefix, places: self.places };
        let whose = claim::whose(self.read(&claim::reads()).await?, &claimant).map_err(text)??;
        if let Some(cut_off) = restoring(self.read(&[Read::Key(kept::restoring())]).await?) {
            return Err(cut_off);
        }
        let first = |prefix| Read::Range { prefix, after: None, limit: LOOKED_AT };
        let entries = self.read(&kept::beginnings().map(first).collect::<Vec<_>>()).await?;
        if let Some(newer) = from_newer_build(entries) {
            return Err(newer);
        }
        self.look.may_write().await.map_err(|error| way_out(&error))?;
        Ok(whose)
    }

    async fn read(&self, reads: &[Read]) -> Result<View, String> {
        self.look.read(reads).await.map_err(|error| way_out(&error))
    }
}

fn restoring(view: View) -> Option<String> {
    let is_marked = view.answers.iter().any(|answer| !answer.is_empty());
    is_marked.then(|| {
        "the record is not whole, because a restore was cut off: repeat it (mainspring restore \
         FILE)"
            .to_owned()
    })
}

fn from_newer_build(view: View) -> Option<String> {
    let newer = |(key, stored): (Key, Stored)| {
        keys::from_newer_build(&stored.value).map(|why| format!("the entry {key}: {why}"))
    };
    view.answers.into_iter().flatten().find_map(newer)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn members() -> Vec<Member> {
        ["http://a", "http://b", "http://c"].map(|text| text.parse().unwrap()).to_vec()
    }

    fn asked(members: &[Member], answers: [Result<u64, Error>; 3]) -> Vec<Asked<'_>> {
        let took = Duration::from_millis(7);
        let each = members.iter().zip(answers);
        each.map(|(member, cluster)| Asked { member, cluster, took }).collect()
    }

    #[test]
    fn each_member_is_told_and_what_is_wrong_comes_with_what_to_do() {
        let members = members();
        let away = || Err(Error::Away("refused".to_owned()));
        let (all, cluster) = told(&asked(&members, [Ok(10), Ok(10), Ok(10)]));
        assert_eq!((all.problem, cluster), (None, Some(10)));
        assert!(all.text.starts_with("3 of 3 members answer (tcp://a:2379 7 ms"), "{}", all.text);

        let (two, cluster) = told(&asked(&members, [Ok(10), away(), Ok(10)]));
        assert!(two.text.starts_with("2 of 3"), "{}", two.text);
        let problem = two.problem.unwrap();
        assert!(problem.starts_with("tcp://b:2379: etcd does not answer"), "{problem}");
        assert!(problem.contains("MAINSPRING_ETCD") && cluster == Some(10), "{problem}");

        let (none, cluster) = told(&asked(&members, [away(), away(), away()]));
        assert!(none.problem.is_some() && cluster.is_none());
        assert_eq!(none.text, "0 of 3 members answer");

        let other_ca = || Err(Error::Untrusted("tcp://b:2379: it is of another CA".to_owned()));
        let (mistrusted, _) = told(&asked(&members, [Ok(10), other_ca(), Ok(10)]));
        assert_eq!(mistrusted.problem.unwrap(), "tcp://b:2379: it is of another CA");

        let (mixed, _) = told(&asked(&members, [Ok(10), Ok(255), Ok(10)]));
        assert!(mixed.problem.unwrap().contains("several clusters (a, ff)"));

        let setting = || Err(Error::Setting("the password is wrong: mend it".to_owned()));
        let (wrong, _) = told(&asked(&members, [setting(), setting(), setting()]));
        assert_eq!(wrong.problem.unwrap(), "the password is wrong: mend it");
        assert!(way_out(&Error::Full("quota".to_owned())).contains("alarm disarm"));
    }

    #[test]
    fn what_a_newer_build_has_written_is_named() {
        let entry = |key: &str, version: u8| {
            let value = vec![version, 8, 3].into();
            (Key::from(key.to_owned()), Stored { value, revision: 1 })
        };
        let view = |entries| View { revision: 1, answers: vec![entries] };
        assert_eq!(from_newer_build(view(vec![entry("a/x/head", 1)])), None);
        let newer = from_newer_build(view(vec![entry("a/x/head", 1), entry("a/y/head", 2)]));
        assert!(newer.is_some_and(|why| why.contains("a/y/head") && why.contains("format 2")));
    }
}
