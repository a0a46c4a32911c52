//! `host give-up` has the record forget the processes of a host that never comes back.

use std::collections::{BTreeMap, BTreeSet};

use client::processes::Processes;
use proto::jobgraph::{Process, ProcessState};
use proto::{ApplicationRef, Place, PlaceUid, Reason};
use serde_json::json;

use super::{is_called, live};
use crate::api::requester;
use crate::ask;
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::host::{STORE, seat};
use crate::output::Format;
use crate::session::Session;
use crate::table::plural;
use crate::verb::context::yaml;

/// Give up a host that never comes back
///
/// Applications do not become clean while a cluster of theirs may live on a host that is away: they
/// wait for that host to be started again. If it never is, its state directory is lost for example,
/// this has the record forget its processes. Only you can know that nothing lives there any more.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring host give-up node-7-3fa9 --reason 'its disk is gone'\n  \
    mainspring host give-up 3fa9c2d07b18e645 --yes")]
pub(super) struct GiveUpArgs {
    /// The host's name, or its uid
    #[arg(value_name = "NAME")]
    name: String,

    /// Why, for the record
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// What the record has of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Share {
    place: Place,
    /// How many processes may live there, or have left a tombstone.
    processes: usize,
    /// The applications whose clusters may live there.
    applications: BTreeSet<ApplicationRef>,
}

pub(super) async fn run(args: GiveUpArgs, session: &Session) -> OrFailure<Exit> {
    session.api().await?;
    let reach = session.reach()?;
    let processes = Processes::new(reach.channel(STORE));
    let me = session.places.host().map_err(Failure::of_state)?;
    let hosts = seat::taken(&reach).await?;
    let shares = shares(&args.name, &processes.list("").await?);
    let is_there = live(&hosts, &args.name).map(|host| &host.place);
    let is_there = is_there.or_else(|| is_called(&me, &args.name).then_some(&me));
    if let Some(place) = is_there {
        return Err(lives(place, &shares));
    }
    let share = the_one(&args.name, shares)?;
    let (name, uid) = (share.place.name().to_owned(), share.place.uid());
    ask::sure(&consequence(&share), args.yes)?;
    let done = processes.give_up_place(uid, &requester(), &args.reason).await.map_err(|error| {
        let again = format!("mainspring host give-up {uid} (a repeat is harmless)");
        Failure::from(error.clone()).unknown_unless_refused(&error, &again)
    })?;
    let concerned: BTreeSet<_> =
        done.applications.into_iter().filter_map(|of| ApplicationRef::try_from(of).ok()).collect();
    let applications: Vec<_> = concerned.iter().map(ToString::to_string).collect();
    let document = json!({
        "name": name,
        "uid": uid.to_string(),
        "processes": done.processes,
        "applications": applications,
    });
    let out = &session.out;
    match out.format {
        Format::Json | Format::Jsonl => out.answer(format!("{document}\n")),
        Format::Yaml => out.answer(yaml(&document)?),
        Format::Name => {
            applications.iter().for_each(|application| out.answer(format!("{application}\n")));
        }
        Format::Table | Format::Wide => {
            out.talk(format!("host {name} is given up"));
            applications.iter().for_each(|application| {
                out.talk(format!("{application} does not wait for it any more"));
            });
        }
    }
    Ok(Exit::SUCCEEDED)
}

/// What becomes of what the record has of the host.
fn consequence(Share { place, processes, applications }: &Share) -> String {
    let (name, uid) = (place.name(), place.uid());
    let names: Vec<_> = applications.iter().map(ToString::to_string).collect();
    let concerned = match names.as_slice() {
        [] => "no application has a cluster there".to_owned(),
        names => format!("no application waits for it any more ({})", names.join(", ")),
    };
    let records = plural(*processes as u64, "record");
    format!(
        "giving up host {name} ({uid}) forgets {records} of processes there, and ends none: \
         {concerned}"
    )
}

/// The places of this name or uid that the record has processes of.
fn shares(name: &str, processes: &[Process]) -> BTreeMap<PlaceUid, Share> {
    let mut shares = BTreeMap::new();
    for process in processes {
        // A process of a build that named no places is at the store's own place.
        let Ok(Some(place)) = Place::read(process.place.clone()) else { continue };
        if !is_called(&place, name) {
            continue;
        }
        let empty = Share { place: place.clone(), processes: 0, applications: BTreeSet::new() };
        let share = shares.entry(place.uid()).or_insert(empty);
        share.processes += 1;
        let may_live = process.kind == "cluster" && process.state() == ProcessState::Intended;
        if let (true, Ok(of)) = (may_live, ApplicationRef::try_from(process.application.clone())) {
            share.applications.insert(of);
        }
    }
    shares
}

/// The only place that was meant.
fn the_one(name: &str, mut shares: BTreeMap<PlaceUid, Share>) -> OrFailure<Share> {
    let uids: Vec<_> = shares.keys().map(ToString::to_string).collect();
    match shares.pop_first() {
        None => {
            let text = format!("no host {name} has a seat, and the record knows no process of one");
            Err(Failure::new(Exit::NOT_FOUND, Reason::HostNotFound, text))
        }
        Some((_, share)) if shares.is_empty() => Ok(share),
        Some(_) => {
            let text = format!("{name} is the name of {} hosts: {}", uids.len(), uids.join(", "));
            Err(Failure::usage(text).help("name the one that is meant by its uid"))
        }
    }
}

/// The refusal of a host that is there.
fn lives(place: &Place, shares: &BTreeMap<PlaceUid, Share>) -> Failure {
    let text = format!("host {} ({}) is there", place.name(), place.uid());
    let failure = Failure::new(Exit::REFUSED, Reason::HostLives, text);
    let namesake = shares.keys().find(|uid| **uid != place.uid());
    match namesake {
        None => failure,
        Some(uid) => failure.help(format!(
            "another host had this name before: mainspring host give-up {uid} gives that one up"
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proto::Generation;

    use super::*;

    fn place(name: &str, n: u8) -> Place {
        Place::host(name, PlaceUid::from_bytes([n; 8])).unwrap()
    }

    fn reference(id: &str) -> ApplicationRef {
        ApplicationRef { id: id.parse().unwrap(), generation: Generation(1) }
    }

    fn process(at: &Place, of: &str, kind: &str, state: ProcessState) -> Process {
        Process {
            application: Some(reference(of).into()),
            kind: kind.into(),
            state: state.into(),
            place: Some(at.clone().into()),
            ..Process::default()
        }
    }

    #[test]
    fn a_host_is_found_by_its_name_and_by_its_uid() {
        let (gone, other) = (place("node-7", 7), place("node-8", 8));
        let processes = [
            process(&gone, "orders", "cluster", ProcessState::Intended),
            process(&gone, "orders", "cluster", ProcessState::Intended),
            process(&gone, "ended", "cluster", ProcessState::Gone),
            process(&gone, "standby", "contender", ProcessState::Intended),
            process(&other, "load", "cluster", ProcessState::Intended),
            Process::default(),
        ];
        let expected =
            Share { place: gone, processes: 4, applications: [reference("orders")].into() };
        for name in ["node-7", "0707070707070707"] {
            let found = the_one(name, shares(name, &processes));
            assert_eq!(found, Ok(expected.clone()), "{name}");
        }
        let said = consequence(&expected);
        assert!(said.contains("4 records") && said.ends_with("(orders@1)"), "{said}");
    }

    #[test]
    fn one_that_nobody_knows_and_a_name_of_two_are_refused() {
        let unknown = the_one("node-9", shares("node-9", &[])).unwrap_err();
        assert_eq!((unknown.exit, unknown.reason.as_str()), (Exit::NOT_FOUND, "HOST_NOT_FOUND"));
        let lost = [place("node-7", 7), place("node-7", 8)]
            .map(|at| process(&at, "orders", "cluster", ProcessState::Intended));
        let two = the_one("node-7", shares("node-7", &lost)).unwrap_err();
        assert_eq!(two.exit, Exit::USAGE);
        assert!(two.message.contains("0707070707070707, 0808080808080808"), "{}", two.message);
    }

    #[test]
    fn a_live_host_is_refused_and_one_that_had_its_name_is_shown() {
        let (alive, before) = (place("node-7", 7), place("node-7", 6));
        let alone = lives(&alive, &BTreeMap::new());
        assert_eq!((alone.exit, alone.reason.as_str()), (Exit::REFUSED, "HOST_LIVES"));
        let lost = [process(&before, "orders", "cluster", ProcessState::Intended)];
        let named = lives(&alive, &shares("node-7", &lost));
        assert!(named.help[0].contains("give-up 0606060606060606"), "{:?}", named.help);
    }
}
