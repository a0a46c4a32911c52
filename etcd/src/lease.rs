//! A lease of etcd, renewed only when its user says so.

use std::time::Duration;

use chassis::backoff::Backoff;
use chassis::clock::{Clock as _, timeout};
use etcd_client::{LeaseKeepAliveStream, LeaseKeeper};

use crate::error::Error;
use crate::link::Etcd;

/// The first pause before a renewal is tried again.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);

/// The longest pause before a renewal is tried again. It is short, because a holder has only the
/// rest of its lease.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// A lease by its id, and the stream that renews it.
///
/// The stream is opened by the first renewal and again after it broke, on another member if need
/// be: a lease belongs to the cluster, not to a connection.
#[derive(Debug)]
pub struct Lease {
    etcd: Etcd,
    id: i64,
    stream: Option<Box<Stream>>,
}

/// The member that renews, and both directions of the conversation with it.
type Stream = (usize, LeaseKeeper, LeaseKeepAliveStream);

impl Lease {
    /// A new lease, and how long it lasts without a renewal: what etcd grants, which may be longer
    /// than what was asked for.
    pub async fn grant(
        etcd: &Etcd,
        wanted: Duration,
        patience: Duration,
    ) -> Result<(Self, Duration), Error> {
        let seconds = i64::try_from(wanted.as_millis().div_ceil(1_000)).unwrap_or(i64::MAX);
        let granted =
            etcd.call(patience, |client| async move {
                client.lease_client().grant(seconds, None).await
            })
            .await?;
        let granted_for = u64::try_from(granted.ttl()).map(Duration::from_secs);
        let granted_for = granted_for.map_err(|_| Error::Refused(granted.error().to_owned()))?;
        Ok((Self::of(etcd, granted.id()), granted_for))
    }

    /// The lease with this id, which another process may have been granted.
    pub fn of(etcd: &Etcd, id: i64) -> Self {
        Self { etcd: etcd.clone(), id, stream: None }
    }

    /// The id, which no other lease has.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// How long the lease lasts without a renewal; `None`: it has ended.
    pub async fn granted_for(&self, patience: Duration) -> Result<Option<Duration>, Error> {
        let id = self.id;
        let told =
            self.etcd
                .call(patience, |client| async move {
                    client.lease_client().time_to_live(id, None).await
                })
                .await?;
        // What is left is told in whole seconds, so the last second of a lease is a 0. Of a lease
        // that has ended etcd says -1.
        let ended = told.ttl() < 0;
        Ok(u64::try_from(told.granted_ttl()).ok().filter(|_| !ended).map(Duration::from_secs))
    }

    /// Renews the lease: it lasts anew, counted from before this call. `false`: it has ended. An
    /// error leaves open whether it was renewed.
    pub async fn renew(&mut self, patience: Duration) -> Result<bool, Error> {
        let clock = self.etcd.clock().clone();
        let until = clock.boot() + patience;
        let mut backoff = Backoff::new(SHORTEST_PAUSE, LONGEST_PAUSE);
        loop {
            let at = self.stream.as_ref().map_or_else(|| self.etcd.present().0, |stream| stream.0);
            // There is time for another member when this one is silent.
            let renewed = match timeout(&clock, patience / 2, self.once()).await {
                Ok(renewed) => renewed,
                Err(elapsed) => Err(self.broke(at, elapsed.into())),
            };
            match renewed {
                Err(error) if error.is_away() && clock.boot() < until => {
                    // The stream is gone, and the member that had it is left.
                    tracing::debug!(%error, lease = self.id, "a renewal is tried again");
                    clock.sleep(backoff.next_delay()).await;
                }
                renewed => return renewed,
            }
        }
    }

    /// One renewal on one stream. The stream is taken out meanwhile, so that a renewal that is cut
    /// off leaves no stream whose next answer is another renewal's.
    async fn once(&mut self) -> Result<bool, Error> {
        let (at, mut keeper, mut answers) = match self.stream.take() {
            Some(stream) => *stream,
            None => {
                let (at, client) = self.etcd.present();
                let opening = async {
                    let token = self.etcd.token(at).await?;
                    let opened = client.lease_client().keep_alive(self.id).await;
                    opened.map_err(|error| self.etcd.judge(at, token, error.into()))
                };
                return match opening.await {
                    Ok((keeper, answers)) => {
                        self.stream = Some(Box::new((at, keeper, answers)));
                        Ok(true)
                    }
                    Err(Error::LeaseGone) => Ok(false),
                    Err(error) => Err(self.broke(at, error)),
                };
            }
        };
        let renewed = async {
            keeper.keep_alive().await?;
            answers.message().await
        };
        match renewed.await {
            Ok(Some(answer)) if answer.ttl() > 0 => {
                self.stream = Some(Box::new((at, keeper, answers)));
                Ok(true)
            }
            Ok(Some(_)) => Ok(false),
            Ok(None) => Err(self.broke(at, Error::Away("the stream of renewals ended".to_owned()))),
            Err(error) => Err(self.broke(at, error.into())),
        }
    }

    fn broke(&self, at: usize, error: Error) -> Error {
        self.etcd.broke(at, &error);
        error
    }

    /// Ends the lease and deletes its keys. A lease that has ended is no error.
    pub async fn revoke(self, patience: Duration) -> Result<(), Error> {
        let id = self.id;
        let revoked = self
            .etcd
            .call(patience, |client| async move { client.lease_client().revoke(id).await })
            .await;
        match revoked {
            Ok(_) | Err(Error::LeaseGone) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
