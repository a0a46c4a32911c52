//! A call, and the member that it goes to.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chassis::backoff::Backoff;
use chassis::channel;
use chassis::clock::{Clock as _, SharedClock, timeout};
use chassis::transport::SharedTransport;
use etcd_client::{Channel, Client, ConnectOptions, WatchClient};
use tower::util::BoxCloneSyncService;

use crate::config::{EtcdArgs, Member};
use crate::error::Error;
use crate::user::{Admission, User};

/// The largest answer to a transaction that is read, in bytes: a page of values.
pub(crate) const MAX_ANSWER_BYTES: usize = 128 << 20;

/// The largest message of a watch that is read, in bytes. etcd tells at most 1,000 revisions at
/// once, each of at most the 1.5 MiB that it takes of one request. A watch that refused such a
/// message would get it again for ever.
const MAX_TOLD_BYTES: usize = 1_536 << 20;

/// How long one member has for an answer. An election of etcd's own leader takes one to two
/// seconds, during which a member holds a call.
const ATTEMPT: Duration = Duration::from_secs(3);

/// The first pause after a member did not answer.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);

/// The longest pause between two members.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The members of one etcd cluster, and the one of them that calls go to at present.
///
/// Every member answers for the whole cluster, so calls stay with one member until that member
/// fails. Each member has a connection that is made anew when the member is called again.
#[derive(Clone)]
pub struct Etcd(Arc<Shared>);

struct Shared {
    members: Vec<Reached>,
    user: Option<User>,
    at: AtomicUsize,
    clock: SharedClock,
}

/// One member, and the way to it.
struct Reached {
    member: Member,
    client: Client,
    admission: Admission,
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.members.iter().map(|reached| &reached.member)).finish()
    }
}

impl Etcd {
    /// The way to these members, without TLS and without a user.
    pub async fn new(
        members: &[Member],
        transport: &SharedTransport,
        clock: &SharedClock,
    ) -> Result<Self, Error> {
        let settings = EtcdArgs { members: members.to_vec(), ..EtcdArgs::default() };
        Self::of(&settings, transport, clock).await
    }

    /// The way to the etcd that the settings name. Settings that cannot be used are refused;
    /// nothing is connected yet. The call has to come inside the runtime.
    pub async fn of(
        settings: &EtcdArgs,
        transport: &SharedTransport,
        clock: &SharedClock,
    ) -> Result<Self, Error> {
        let (transport, user) = (settings.transport(transport, clock)?, settings.user()?);
        let mut members = Vec::with_capacity(settings.members.len());
        for member in &settings.members {
            let transport = transport.clone();
            let channel =
                channel::connect(transport, clock.clone(), member.endpoint().clone(), None);
            let channel = tower::util::MapErr::new(channel, tower::BoxError::from);
            let channel = Channel::Custom(BoxCloneSyncService::new(channel));
            // A member that has lost the others refuses, instead of answering from the past or
            // holding a watch that hears of nothing.
            let options = ConnectOptions::new().with_require_leader(true);
            let client = Client::from_channel(channel, Some(options)).await?;
            let admission = Admission::default();
            members.push(Reached { member: member.clone(), client, admission });
        }
        if members.is_empty() {
            return Err(Error::Setting("name the members of etcd with MAINSPRING_ETCD".to_owned()));
        }
        let at = AtomicUsize::new(0);
        Ok(Self(Arc::new(Shared { members, user, at, clock: clock.clone() })))
    }

    /// The clock that waits count by.
    pub fn clock(&self) -> &SharedClock {
        &self.0.clock
    }

    /// Calls until a member answers, for at most `patience`. For what may be done twice: another
    /// member may be called although an earlier one has done it.
    pub async fn call<T, F>(
        &self,
        patience: Duration,
        call: impl Fn(Client) -> F + Send + Sync,
    ) -> Result<T, Error>
    where
        T: Send,
        F: Future<Output = Result<T, etcd_client::Error>> + Send,
    {
        let until = self.0.clock.boot() + patience;
        // There is time for another member when one is silent.
        let attempt = ATTEMPT.min(patience / 2);
        let mut backoff = Backoff::new(SHORTEST_PAUSE, LONGEST_PAUSE);
        loop {
            let answer = self.once_within(attempt, &call).await;
            match answer {
                Err(error) if error.is_away() && self.0.clock.boot() < until => {
                    tracing::debug!(%error, "another member of etcd is asked");
                    self.0.clock.sleep(backoff.next_delay()).await;
                }
                answer => return answer,
            }
        }
    }

    /// Calls the present member once. A member that does not answer is left: the next call goes to
    /// another one. [`Error::Away`] leaves open whether a write has happened.
    pub async fn once<T, F>(&self, call: impl Fn(Client) -> F + Send + Sync) -> Result<T, Error>
    where
        T: Send,
        F: Future<Output = Result<T, etcd_client::Error>> + Send,
    {
        self.once_within(ATTEMPT, call).await
    }

    async fn once_within<T, F>(
        &self,
        attempt: Duration,
        call: impl Fn(Client) -> F + Send + Sync,
    ) -> Result<T, Error>
    where
        T: Send,
        F: Future<Output = Result<T, etcd_client::Error>> + Send,
    {
        let (at, client) = self.present();
        let asked = async {
            let token = self.token(at).await?;
            call(client).await.map_err(|error| self.judge(at, token, error.into()))
        };
        let answer = match timeout(&self.0.clock, attempt, asked).await {
            Ok(answer) => answer,
            Err(elapsed) => Err(elapsed.into()),
        };
        if let Err(error) = &answer {
            self.broke(at, error);
        }
        answer
    }

    /// The number of the member that calls go to, and its client.
    pub(crate) fn present(&self) -> (usize, Client) {
        let at = self.0.at.load(Ordering::Relaxed) % self.0.members.len();
        (at, self.0.members[at].client.clone())
    }

    /// The number of the token that the member takes from this process, which is got first if there
    /// is none; 0 without a user.
    pub(crate) async fn token(&self, at: usize) -> Result<u64, Error> {
        let Some(user) = &self.0.user else { return Ok(0) };
        let Reached { client, admission, .. } = &self.0.members[at];
        admission.token(user, client, &self.0.clock).await
    }

    /// What a member's answer means for calls to come: a token that the member does not know is
    /// shown no more.
    pub(crate) fn judge(&self, at: usize, token: u64, error: Error) -> Error {
        match (&error, &self.0.user) {
            (Error::NotAdmitted(_), Some(_)) => self.0.members[at].admission.forget(token),
            (Error::Refused(why), user) if error.is_not_permitted() => {
                return Error::Setting(not_permitted(user.as_ref(), why));
            }
            (Error::NotAdmitted(why), None) => {
                return Error::Setting(format!(
                    "etcd asks for a user ({why}): name one with MAINSPRING_ETCD_USER, and the \
                     file that has the password with MAINSPRING_ETCD_PASSWORD_FILE"
                ));
            }
            _ => {}
        }
        error
    }

    /// Leaves the member that an error came from, if that is what the error says.
    pub(crate) fn broke(&self, at: usize, error: &Error) {
        if matches!(error, Error::Away(_) | Error::Untrusted(_)) {
            self.leave(at);
        }
    }

    /// Leaves a member that did not answer, unless another call has left that member already.
    fn leave(&self, at: usize) {
        let next = (at + 1) % self.0.members.len();
        let left = self.0.at.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
        if left.is_ok() && next != at {
            let (member, next) = (&self.0.members[at].member, &self.0.members[next].member);
            tracing::info!(%member, %next, "a member of etcd does not answer; the next is asked");
        }
    }
}

/// What to do about a user that may not touch what a call is about.
fn not_permitted(user: Option<&User>, why: &str) -> String {
    let user = match user {
        Some(user) => format!("the user {}", user.name),
        None => "the user that the certificate names".to_owned(),
    };
    format!(
        "etcd does not let {user} do that ({why}): let its role read and write below \
         MAINSPRING_ETCD_PREFIX (etcdctl role grant-permission ROLE readwrite PREFIX/ --prefix)"
    )
}

/// The part of a client that watches, with room for large answers.
pub(crate) fn watch(client: &Client) -> WatchClient {
    client.watch_client().max_decoding_message_size(MAX_TOLD_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_that_may_not_write_is_told_what_to_grant() {
        let user = User { name: "host".to_owned(), password_file: "/secret".into() };
        for (user, named) in [(Some(&user), "the user host"), (None, "the certificate")] {
            let text = not_permitted(user, "etcdserver: permission denied");
            for named in [named, "permission denied", "readwrite", "MAINSPRING_ETCD_PREFIX"] {
                assert!(text.contains(named), "{named:?} is not in {text:?}");
            }
        }
    }
}
