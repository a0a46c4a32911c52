//! The network between machines: connections that take time, links that are cut in one direction or
//! in both, and machines that crash.
#![allow(
    clippy::disallowed_methods,
    reason = "what is on its way is delayed by the runtime's clock, which no machine owns"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chassis::tasks::detached;
use chassis::transport::{BoxedIo, Endpoint, Incoming, Transport};
use futures::stream;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::io::{
    AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, duplex, split,
};
use tokio::sync::{mpsc, watch};

/// How many bytes wait on one side of a connection.
const BUFFER_BYTES: usize = 256 * 1024;

/// How many bytes go over a link at once.
const PART_BYTES: usize = 64 * 1024;

/// How many connections wait to be accepted.
const BACKLOG: usize = 128;

/// How long a part is on its way, in milliseconds.
const DELAY_MS: std::ops::RangeInclusive<u64> = 1..=4;

/// One direction between two machines.
type Link = (Arc<str>, Arc<str>);

/// All links of one simulation. Clones are the same links.
///
/// What is sent over a cut link is not lost: it arrives, late and in order, once the link is
/// mended, as TCP sends again what was not confirmed. The two sides of a connection give up by
/// their own signs of life. Within one machine nothing is delayed and nothing cut.
#[derive(Clone)]
pub struct Links(Arc<Shared>);

struct Shared {
    listeners: Mutex<BTreeMap<(Arc<str>, Endpoint), Listener>>,
    /// The directions in which nothing arrives.
    cut: watch::Sender<BTreeSet<Link>>,
    /// By how much a part may take longer, by the machine that sends or takes it.
    slow: Mutex<BTreeMap<Arc<str>, Duration>>,
    random: Mutex<StdRng>,
}

/// Where connections are accepted, and whether the machine lives.
#[derive(Clone)]
struct Listener {
    accepts: mpsc::Sender<BoxedIo>,
    lives: watch::Receiver<bool>,
}

/// One life of a machine, as the transport of its processes. A unix socket is the machine's own; a
/// TCP endpoint is on the machine that has the endpoint's host for its name.
#[derive(Clone)]
pub struct Machine {
    name: Arc<str>,
    links: Links,
    lives: watch::Sender<bool>,
}

impl Links {
    /// Links that delay what goes over them by times that follow from the seed.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Shared {
            listeners: Mutex::default(),
            cut: watch::Sender::default(),
            slow: Mutex::default(),
            random: Mutex::new(StdRng::seed_from_u64(seed)),
        }))
    }

    /// Begins a life of the machine with this name.
    pub fn machine(&self, name: &str) -> Machine {
        Machine { name: name.into(), links: self.clone(), lives: watch::Sender::new(true) }
    }

    /// Lets nothing arrive any more that `from` sends to `to`.
    pub fn cut(&self, from: &str, to: &str) {
        let link: Link = (from.into(), to.into());
        self.0.cut.send_modify(|cut| {
            cut.insert(link);
        });
    }

    /// Lets arrive what `from` sends to `to`.
    pub fn mend(&self, from: &str, to: &str) {
        let link: Link = (from.into(), to.into());
        self.0.cut.send_modify(|cut| {
            cut.remove(&link);
        });
    }

    /// Lets each part that the machine sends or takes be on its way for up to so much longer; zero
    /// ends that.
    pub fn slow(&self, machine: &str, by: Duration) {
        let mut slow = self.0.slow.lock().unwrap_or_else(PoisonError::into_inner);
        slow.insert(machine.into(), by);
    }

    /// Mends all links, and none is slow.
    pub fn mend_all(&self) {
        self.0.slow.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.0.cut.send_modify(BTreeSet::clear);
    }

    /// Waits until a part that is sent now has arrived.
    async fn pass(&self, from: &Arc<str>, to: &Arc<str>) {
        tokio::time::sleep(self.delay(from, to)).await;
        let link = (from.clone(), to.clone());
        let mut cut = self.0.cut.subscribe();
        // Waiting cannot fail: the sender is in `self`.
        let _ = cut.wait_for(|cut| !cut.contains(&link)).await;
    }

    /// How long a part is on its way.
    fn delay(&self, from: &Arc<str>, to: &Arc<str>) -> Duration {
        let longer = {
            let slow = self.0.slow.lock().unwrap_or_else(PoisonError::into_inner);
            [from, to].into_iter().filter_map(|machine| slow.get(machine)).max().copied()
        };
        let longer_ms = u64::try_from(longer.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
        let mut random = self.0.random.lock().unwrap_or_else(PoisonError::into_inner);
        let usual_ms = random.random_range(DELAY_MS);
        if longer_ms == 0 {
            return Duration::from_millis(usual_ms);
        }
        Duration::from_millis(usual_ms + random.random_range(0..=longer_ms))
    }

    fn listeners(&self) -> MutexGuard<'_, BTreeMap<(Arc<str>, Endpoint), Listener>> {
        self.0.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Links")
    }
}

impl Machine {
    /// Ends this life: no connection of the machine goes on, no process of it is reached, and none
    /// of them reaches another one.
    pub fn crash(&self) {
        self.lives.send_replace(false);
        self.links.listeners().retain(|(machine, _), _| *machine != self.name);
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Machine({})", self.name)
    }
}

#[async_trait]
impl Transport for Machine {
    async fn listen(&self, endpoint: &Endpoint) -> io::Result<Incoming> {
        let refused = |why: &str| io::Error::new(ErrorKind::AddrInUse, format!("{endpoint} {why}"));
        if !*self.lives.borrow() {
            return Err(refused("is of a machine that has crashed"));
        }
        let mut listeners = self.links.listeners();
        let at = (self.name.clone(), endpoint.clone());
        if listeners.get(&at).is_some_and(|listener| !listener.accepts.is_closed()) {
            return Err(refused("is taken"));
        }
        let (accepts, accepted) = mpsc::channel(BACKLOG);
        listeners.insert(at, Listener { accepts, lives: self.lives.subscribe() });
        let connections = stream::unfold(accepted, |mut accepted| async move {
            accepted.recv().await.map(|connection| (Ok(connection), accepted))
        });
        Ok(Incoming::new(endpoint.clone(), connections))
    }

    async fn connect(&self, endpoint: &Endpoint) -> io::Result<BoxedIo> {
        let refused =
            || io::Error::new(ErrorKind::ConnectionRefused, format!("{endpoint}: no listener"));
        let to: Arc<str> = match endpoint {
            Endpoint::Unix(_) => self.name.clone(),
            Endpoint::Tcp(host, _) => host.as_str().into(),
        };
        let is_local = to == self.name;
        if !is_local {
            self.links.pass(&self.name, &to).await;
            self.links.pass(&to, &self.name).await;
        }
        if !*self.lives.borrow() {
            return Err(refused());
        }
        let listener = self.links.listeners().get(&(to.clone(), endpoint.clone())).cloned();
        let Listener { accepts, lives } = listener.ok_or_else(refused)?;
        let (near, far) = duplex(BUFFER_BYTES);
        if is_local {
            accepts.send(BoxedIo::new(far)).await.map_err(|_| refused())?;
            return Ok(BoxedIo::new(near));
        }
        let (there, arrives) = duplex(BUFFER_BYTES);
        let ends = [self.lives.subscribe(), lives];
        let carried = carry(self.links.clone(), (self.name.clone(), far), (to, there), ends);
        detached("link", "a connection belongs to the two processes at its ends", carried);
        accepts.send(BoxedIo::new(arrives)).await.map_err(|_| refused())?;
        Ok(BoxedIo::new(near))
    }
}

/// Carries a connection until both sides have ended it, or until one of the machines crashes.
async fn carry(
    links: Links,
    (from, near): (Arc<str>, DuplexStream),
    (to, far): (Arc<str>, DuplexStream),
    [mut here, mut there]: [watch::Receiver<bool>; 2],
) {
    let (near_sends, near_takes) = split(near);
    let (far_sends, far_takes) = split(far);
    let goes = carry_one_way(&links, &from, &to, near_sends, far_takes);
    let comes = carry_one_way(&links, &to, &from, far_sends, near_takes);
    tokio::select! {
        biased;
        _ = here.wait_for(|lives| !lives) => {}
        _ = there.wait_for(|lives| !lives) => {}
        _ = futures::future::join(goes, comes) => {}
    }
}

async fn carry_one_way(
    links: &Links,
    from: &Arc<str>,
    to: &Arc<str>,
    mut sends: ReadHalf<DuplexStream>,
    mut takes: WriteHalf<DuplexStream>,
) {
    let mut part = vec![0; PART_BYTES];
    loop {
        let length = sends.read(&mut part).await.unwrap_or(0);
        links.pass(from, to).await;
        if length == 0 || takes.write_all(&part[..length]).await.is_err() {
            break;
        }
    }
    // The taker may be gone already.
    let _ = takes.shutdown().await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use chassis::clock::timeout;
    use futures::StreamExt as _;
    use tokio::time::Instant;

    use super::*;
    use crate::MachineClock;

    fn store_of(machine: &str) -> Endpoint {
        Endpoint::Tcp(machine.to_owned(), 1)
    }

    /// Two machines, and both ends of a connection from the first to the second.
    async fn pair(links: &Links) -> ([Machine; 2], [BoxedIo; 2]) {
        let machines = [links.machine("a"), links.machine("b")];
        let mut listening = machines[1].listen(&store_of("b")).await.unwrap();
        let near = machines[0].connect(&store_of("b")).await.unwrap();
        let far = listening.next().await.unwrap().unwrap();
        (machines, [near, far])
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_sent_over_a_cut_link_arrives_once_it_is_mended_and_the_other_way_goes_on() {
        let (links, clock) = (Links::new(7), MachineClock::new(Instant::now(), Duration::ZERO));
        let (_machines, [mut near, mut far]) = pair(&links).await;
        links.cut("a", "b");
        near.write_all(b"asked").await.unwrap();
        far.write_all(b"told").await.unwrap();
        let mut heard = [0; 5];
        near.read_exact(&mut heard[..4]).await.unwrap();
        assert_eq!(&heard[..4], b"told");
        let cut = timeout(&clock, Duration::from_secs(60), far.read_exact(&mut heard)).await;
        assert!(cut.is_err());
        links.mend("a", "b");
        far.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"asked");
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_slow_machine_sends_takes_longer_until_it_is_slow_no_more() {
        let links = Links::new(7);
        let (_machines, [mut near, mut far]) = pair(&links).await;
        let mut takes = async || {
            let now = Instant::now();
            near.write_all(b"asked").await.unwrap();
            let mut heard = [0; 5];
            far.read_exact(&mut heard).await.unwrap();
            now.elapsed()
        };
        links.slow("a", Duration::from_secs(60));
        let slow = takes().await;
        links.slow("a", Duration::ZERO);
        let usual = takes().await;
        assert!(slow > Duration::from_millis(100) && slow <= Duration::from_secs(61), "{slow:?}");
        assert!(usual < Duration::from_millis(10), "{usual:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_crash_ends_both_sides_and_the_machine_is_reached_again_in_its_next_life() {
        let links = Links::new(7);
        let ([a, b], [mut near, mut far]) = pair(&links).await;
        b.crash();
        let mut heard = [0; 5];
        assert_eq!(near.read(&mut heard).await.unwrap(), 0);
        assert_eq!(far.read(&mut heard).await.unwrap(), 0);
        assert!(a.connect(&store_of("b")).await.is_err());
        assert!(b.connect(&store_of("b")).await.is_err());
        let next = links.machine("b");
        let _listening = next.listen(&store_of("b")).await.unwrap();
        assert!(a.connect(&store_of("b")).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_unix_socket_is_of_one_machine() {
        let links = Links::new(7);
        let [a, b] = [links.machine("a"), links.machine("b")];
        let socket = Endpoint::Unix("/store".into());
        let _listening = a.listen(&socket).await.unwrap();
        assert!(a.connect(&socket).await.is_ok());
        assert!(b.connect(&socket).await.is_err());
    }
}
