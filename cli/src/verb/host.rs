//! `host` is about the hosts of a deployment that has several: which of them are there, and one
//! that never comes back.

mod give_up;
mod list;

use client::hosts::Host;
use proto::Place;

use crate::exit::Exit;
use crate::failure::OrFailure;
use crate::session::Session;

/// The hosts of a deployment that has several
///
/// A host is one of several if it is given a directory that all of them see (MAINSPRING_SHARED_DIR)
/// beside one etcd and one place of payloads. `list` shows those that are there. `give-up` has the
/// record forget what ran on a host that never comes back, so that no application waits for it.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring host list\n  mainspring host give-up node-7-3fa9")]
pub(crate) struct HostArgs {
    #[command(subcommand)]
    verb: HostVerb,
}

#[derive(Debug, clap::Subcommand)]
enum HostVerb {
    /// The hosts that are there, with a mark at this one
    List(list::ListArgs),
    /// Give up a host that never comes back
    GiveUp(give_up::GiveUpArgs),
}

pub(crate) async fn run(args: HostArgs, session: &Session) -> OrFailure<Exit> {
    session.only_here("host", "asks the elector of this machine's host")?;
    match args.verb {
        HostVerb::List(args) => list::run(&args, session).await,
        HostVerb::GiveUp(args) => give_up::run(args, session).await,
    }
}

/// Whether an operator who says this name, or this uid, may mean the place.
fn is_called(place: &Place, name: &str) -> bool {
    place.name() == name || place.uid().to_string() == name
}

/// The host of this name or uid that is there.
fn live<'a>(hosts: &'a [Host], name: &str) -> Option<&'a Host> {
    hosts.iter().find(|host| is_called(&host.place, name))
}
