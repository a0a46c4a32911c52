//! The user that calls are made as, where an etcd asks for one.
//!
//! For a user and a password a member answers a token, which further calls show. Members forget
//! tokens: after some minutes without a call, when they are started again, and when the password is
//! changed. So a token is got when there is none, and again after a call was refused for it.

use std::fmt::Display;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chassis::clock::{Boot, Clock as _, SharedClock};
use etcd_client::Client;

use crate::error::Error;

/// How long it is remembered that a password was refused. Each question after it costs etcd as much
/// computing as a password's hash is made to cost.
const REMEMBERED: Duration = Duration::from_secs(1);

/// A user, and where its password is.
#[derive(Debug, Clone)]
pub(crate) struct User {
    /// The name that etcd knows.
    pub(crate) name: String,
    /// The file that has the password. It is read each time, so that a password which is changed
    /// in both places needs no restart.
    pub(crate) password_file: PathBuf,
}

impl User {
    /// Has the client show a new token from now on.
    async fn enter(&self, client: &Client) -> Result<(), Error> {
        let known = (self.name.clone(), self.password()?);
        match client.clone().update_user(Some(known)).await.map_err(Error::from) {
            Err(error) if error.is_wrong_password() => Err(self.unusable(error)),
            // Such an etcd takes calls without a token.
            Err(error) if error.is_without_users() => Ok(()),
            entered => entered,
        }
    }

    /// The password: all of the file but the end of its line.
    pub(crate) fn password(&self) -> Result<String, Error> {
        let text = fs::read_to_string(&self.password_file).map_err(|why| self.unusable(why))?;
        let password = text.trim_end_matches(['\r', '\n']);
        if password.is_empty() {
            return Err(self.unusable("the file is empty"));
        }
        Ok(password.to_owned())
    }

    fn unusable(&self, why: impl Display) -> Error {
        Error::Setting(format!(
            "the password of etcd's user {} in {} cannot be used: {why}; put the right one there, \
             or name the file with MAINSPRING_ETCD_PASSWORD_FILE",
            self.name,
            self.password_file.display()
        ))
    }
}

/// Whether one member takes calls of this process.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    /// Held by the call that gets a token, so that the others wait for the same one.
    asking: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How many tokens there were.
    number: u64,
    known: Known,
}

#[derive(Debug, Default)]
enum Known {
    /// A token has to be got.
    #[default]
    Nothing,
    /// The client shows a token.
    Admitted,
    /// No token was given, which is not asked again before this instant.
    Refused(Error, Boot),
}

impl Admission {
    /// The number of the token that the client shows, which is got first if there is none.
    pub(crate) async fn token(
        &self,
        user: &User,
        client: &Client,
        clock: &SharedClock,
    ) -> Result<u64, Error> {
        if let Some(known) = self.known(clock) {
            return known;
        }
        let _asking = self.asking.lock().await;
        // Another call may have asked meanwhile.
        if let Some(known) = self.known(clock) {
            return known;
        }
        let entered = user.enter(client).await;
        let mut state = self.state();
        state.number += 1;
        state.known = match &entered {
            Ok(()) => Known::Admitted,
            Err(error) if error.is_away() => Known::Nothing,
            Err(error) => Known::Refused(error.clone(), clock.boot() + REMEMBERED),
        };
        entered.map(|()| state.number)
    }

    /// The token of this number is not known to the member. A later one may be.
    pub(crate) fn forget(&self, number: u64) {
        let mut state = self.state();
        if state.number == number {
            state.known = Known::Nothing;
        }
    }

    fn known(&self, clock: &SharedClock) -> Option<Result<u64, Error>> {
        let state = self.state();
        match &state.known {
            Known::Admitted => Some(Ok(state.number)),
            Known::Refused(error, until) if clock.boot() < *until => Some(Err(error.clone())),
            Known::Nothing | Known::Refused(..) => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
