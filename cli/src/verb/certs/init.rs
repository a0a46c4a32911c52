//! `certs init` makes a CA for development.

use std::path::Path;

use chassis::clock::Clock as _;
use rand::Rng as _;

use super::authority::Authority;
use super::files::{CA, CA_KEY};
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::session::Session;

/// How long a CA is valid.
const TEN_YEARS: u32 = 3_653;

/// Make a CA for development
///
/// Its key, DIR/ca/ca.key, signs for whole deployments: keep it secret, and on no host. A CA that
/// is there already stays.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring certs init --dir certs")]
pub(super) struct InitArgs {}

pub(super) fn run(_: &InitArgs, directory: &Path, session: &Session) -> OrFailure<Exit> {
    // The name of each CA is its own, so that certificates of two can be told apart.
    let name = format!("mainspring development CA {:08x}", rand::rng().next_u32());
    let ca = directory.join(CA);
    if !Authority::make(directory, &name, TEN_YEARS, session.clock.wall())? {
        let text = format!("{} has a CA already", ca.display());
        return Err(Failure::usage(text).help(format!(
            "issue from it: mainspring certs issue NAME; to begin anew, remove {} and issue \
             everything again",
            ca.display()
        )));
    }
    session.out.talk(format!(
        "{name} is in {}; keep {} where no host is",
        ca.display(),
        ca.join(CA_KEY).display()
    ));
    Ok(Exit::SUCCEEDED)
}
