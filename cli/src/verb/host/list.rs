//! `host list` prints the hosts that have a seat.

use std::time::SystemTime;

use chassis::clock::Clock as _;
use client::hosts::Host;
use prost_types::Timestamp;
use proto::PlaceUid;
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::host::seat;
use crate::output::Format;
use crate::session::Session;
use crate::table::Table;
use crate::verb::context::yaml;
use crate::words;

/// The hosts that are there, with a mark at this one.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring host list -o json")]
pub(super) struct ListArgs {}

pub(super) async fn run(_: &ListArgs, session: &Session) -> OrFailure<Exit> {
    session.api().await?;
    let hosts = seat::taken(&session.reach()?).await?;
    let me = session.places.host().map_err(Failure::of_state)?.uid();
    let out = &session.out;
    let all: Vec<_> = hosts.iter().map(|host| document(host, me)).collect();
    match out.format {
        Format::Json => out.answer(format!("{}\n", json!({ "hosts": all }))),
        Format::Jsonl => all.iter().for_each(|host| out.answer(format!("{host}\n"))),
        Format::Yaml => out.answer(yaml(&json!({ "hosts": all }))?),
        Format::Name => {
            hosts.iter().for_each(|host| out.answer(format!("{}\n", host.place.name())));
        }
        Format::Table | Format::Wide => {
            out.answer(render(&hosts, me, session.clock.wall()));
            if hosts.is_empty() {
                out.talk("no host has a seat: this is none of several (MAINSPRING_SHARED_DIR)");
            }
        }
    }
    Ok(Exit::SUCCEEDED)
}

fn document(host: &Host, me: PlaceUid) -> Value {
    json!({
        "name": host.place.name(),
        "uid": host.place.uid().to_string(),
        "since": Timestamp::from(host.since).to_string(),
        "version": host.version,
        "here": host.place.uid() == me,
    })
}

fn render(hosts: &[Host], me: PlaceUid, now: SystemTime) -> String {
    let mut table = Table::new(&["", "NAME", "UID", "SINCE", "VERSION"]);
    for host in hosts {
        let mark = if host.place.uid() == me { "*" } else { "" };
        table.row(vec![
            mark.to_owned(),
            host.place.name().to_owned(),
            host.place.uid().to_string(),
            words::age_or_dash(Some(&Timestamp::from(host.since)), now),
            host.version.clone(),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use proto::Place;

    use super::*;

    fn host(name: &str, n: u8, since: u64) -> Host {
        Host {
            place: Place::host(name, PlaceUid::from_bytes([n; 8])).unwrap(),
            version: "v1".into(),
            since: SystemTime::UNIX_EPOCH + Duration::from_secs(since),
        }
    }

    #[test]
    fn this_host_is_marked_and_times_are_ages() {
        let hosts = [host("node-7", 0xa7, 0), host("node-8", 0xa8, 3600)];
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(5 * 3600);
        assert_eq!(
            render(&hosts, hosts[1].place.uid(), now),
            "   NAME    UID               SINCE  VERSION\n   \
             node-7  a7a7a7a7a7a7a7a7  5h     v1\n\
             *  node-8  a8a8a8a8a8a8a8a8  4h     v1\n"
        );
    }

    #[test]
    fn programs_read_the_time_and_which_host_answered() {
        let host = host("node-8", 0xa8, 3600);
        let document = document(&host, host.place.uid());
        assert_eq!(document["since"], "1970-01-01T01:00:00Z");
        assert_eq!(document["uid"], "a8a8a8a8a8a8a8a8");
        assert_eq!(document["here"], true);
    }
}
