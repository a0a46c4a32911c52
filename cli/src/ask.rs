//! Asking before something is destroyed: on a terminal only, because a script could not answer.

use std::io::{self, IsTerminal as _, Write as _};

use proto::Reason;

use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};

/// Returns if the operator agreed, with `--yes` or at the terminal.
pub(crate) fn sure(consequence: &str, yes: bool) -> OrFailure<()> {
    if yes {
        return Ok(());
    }
    let refused = |why: &str| {
        Err(Failure::new(Exit::REFUSED, Reason::RequestInvalid, format!("{consequence}: {why}"))
            .help("say --yes to do it"))
    };
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return refused("not done, as there is no terminal to ask at");
    }
    eprint!("{consequence}. Do it? [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        Ok(())
    } else {
        refused("not done")
    }
}
