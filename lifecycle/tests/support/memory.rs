//! Processes that exist in memory only. They run scripts of a few words, so that one plan runs on
//! both substrates: `echo TEXT`, `exit CODE` and `sleep` (for ever), separated by `; ` and given as
//! `/bin/sh -c SCRIPT`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use client::tether::{Chunk, Exit, LastWords, Stream};
use futures::StreamExt as _;
use lifecycle::model::{self, Order, RoleSpec, Scope, Slot, port_keys};
use lifecycle::record::LogSource;
use lifecycle::substrate::{
    Addresses, Adopted, Leftovers, Live, Output, Substrate, SubstrateError,
};
use tokio::sync::watch;

/// A substrate whose processes are entries in a table. Clones share the table, like two lifecycles
/// on one machine.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    processes: BTreeMap<(String, u32), Process>,
    /// What swept processes had said that was not in the record by then.
    outbox: HashMap<LogSource, Vec<u8>>,
    next_pid: u32,
    next_port: u16,
    silent_at_start: bool,
    withstands: bool,
}

#[derive(Clone)]
struct Process {
    slot: Slot,
    pid: u32,
    said: Vec<u8>,
    exit: Arc<watch::Sender<Option<Exit>>>,
    answering: bool,
    released: bool,
}

impl Memory {
    /// An empty machine.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The keys of the processes that live, such as `orders/4/cluster/9/worker/0`.
    pub(crate) fn living(&self) -> Vec<String> {
        let table = self.table();
        let living = table.processes.iter().filter(|(_, process)| process.exit.borrow().is_none());
        living.map(|((key, _), _)| key.clone()).collect()
    }

    /// Lets a living process exit in this way; `false` if there is none with this key.
    pub(crate) fn crash(&self, key: &str, exit: Exit) -> bool {
        let table = self.table();
        let of_key = table
            .processes
            .iter()
            .rev()
            .find(|((k, _), process)| k == key && process.exit.borrow().is_none());
        of_key.map(|(_, process)| process.exit.send_replace(Some(exit))).is_some()
    }

    /// Sets whether processes answer as soon as they are started, which they do unless told
    /// otherwise.
    pub(crate) fn set_answering_at_start(&self, answering: bool) {
        self.table().silent_at_start = !answering;
    }

    /// Sets whether a living process answers when it is asked.
    pub(crate) fn set_answering(&self, key: &str, answering: bool) {
        for ((k, _), process) in &mut self.table().processes {
            if k == key {
                process.answering = answering;
            }
        }
    }

    /// Sets whether a sweep says that processes withstand it, as those do that wait for a disk.
    pub(crate) fn set_withstanding(&self, withstands: bool) {
        self.table().withstands = withstands;
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, order: &Order) -> Option<Process> {
        self.table().processes.get(&(order.slot.key(), order.start)).cloned()
    }
}

impl Process {
    /// Ends the process, unless it has ended: the first end stays.
    fn end(&self, exit: Exit) -> Exit {
        self.exit.send_if_modified(|known| {
            let open = known.is_none();
            if open {
                *known = Some(exit);
            }
            open
        });
        self.exit.borrow().clone().unwrap_or_default()
    }
}

/// What a script says, and how it exits; `None`: it runs for ever.
fn run(script: &str) -> (Vec<u8>, Option<i32>) {
    let mut said = Vec::new();
    for word in script.split("; ") {
        match word.split_once(' ').unwrap_or((word, "")) {
            ("echo", text) => said.extend_from_slice(format!("{text}\n").as_bytes()),
            ("exit", code) => return (said, code.parse().ok()),
            _ => return (said, None),
        }
    }
    (said, Some(0))
}

#[async_trait]
impl Substrate for Memory {
    fn addresses(&self, order: &Order) -> Addresses {
        let key = order.slot.key();
        Addresses {
            endpoint: format!("unix:/memory/{key}"),
            keeper: format!("unix:/memory/{key}/{}", order.start),
        }
    }

    async fn choose_ports(&self, roles: &[RoleSpec]) -> Result<model::Addresses, SubstrateError> {
        let mut table = self.table();
        let chosen = port_keys(roles).into_iter().map(|key| {
            table.next_port += 1;
            (key, format!("memory:{}", table.next_port))
        });
        Ok(chosen.collect())
    }

    async fn start(&self, order: &Order) -> Result<Arc<dyn Live>, SubstrateError> {
        let (said, code) = match order.role.command.as_slice() {
            [shell, option, script] if shell == "/bin/sh" && option == "-c" => run(script),
            other => {
                return Err(SubstrateError(format!(
                    "cannot start {}",
                    other.first().map_or("", |p| p)
                )));
            }
        };
        let exit =
            code.map(|code| Exit { code: Some(code), seen_by_owner: true, ..Exit::default() });
        let mut table = self.table();
        table.next_pid += 1;
        let process = Process {
            slot: order.slot.clone(),
            pid: table.next_pid,
            said,
            exit: Arc::new(watch::Sender::new(exit)),
            answering: !table.silent_at_start,
            released: false,
        };
        table.processes.insert((order.slot.key(), order.start), process);
        Ok(Arc::new(Handle { memory: self.clone(), order: order.clone(), pid: table.next_pid }))
    }

    async fn adopt(&self, order: &Order) -> Adopted {
        match self.find(order).filter(|process| !process.released) {
            Some(process) => {
                let (memory, order) = (self.clone(), order.clone());
                Adopted::Live(Arc::new(Handle { memory, order, pid: process.pid }))
            }
            None => Adopted::Gone(Exit::default()),
        }
    }

    async fn remains(&self, order: &Order, offset: u64) -> Output {
        from_offset(self.find(order).map(|process| process.said).unwrap_or_default(), offset)
    }

    async fn forget_output(&self, order: &Order) {
        if let Some(process) = self.table().processes.get_mut(&(order.slot.key(), order.start)) {
            process.said.clear();
        }
    }

    async fn outbox(&self) -> Vec<LogSource> {
        self.table().outbox.keys().cloned().collect()
    }

    async fn outbox_output(&self, source: &LogSource, offset: u64) -> Output {
        let said = self.table().outbox.get(source).cloned().unwrap_or_default();
        from_offset(said, offset)
    }

    async fn empty_outbox(&self, source: &LogSource) {
        self.table().outbox.remove(source);
    }

    async fn last_words(&self, _: &Order, _: usize) -> LastWords {
        LastWords::default()
    }

    async fn sweep(&self, scope: &Scope) -> Leftovers {
        let Table { processes, outbox, withstands, .. } = &mut *self.table();
        if *withstands {
            return Leftovers { alive: vec!["pid 1".to_owned()], files: Vec::new() };
        }
        processes.retain(|(_, start), process| {
            let gone = scope.holds(&process.slot.group);
            if gone {
                process.end(Exit { signal: Some(9), ..Exit::default() });
                if !process.said.is_empty() {
                    let source = LogSource::new(&process.slot, *start);
                    outbox.insert(source, std::mem::take(&mut process.said));
                }
            }
            !gone
        });
        Leftovers::default()
    }
}

fn from_offset(said: Vec<u8>, offset: u64) -> Output {
    let end = said.len() as u64;
    let from = usize::try_from(offset.min(end)).unwrap_or(0);
    let data = Bytes::from(said).slice(from..);
    let chunk =
        Chunk { next_offset: end, stream: Stream::Stdout, data, lost_before: 0, unix_nanos: 0 };
    futures::stream::iter((offset < end).then_some(Ok(chunk))).boxed()
}

struct Handle {
    memory: Memory,
    order: Order,
    pid: u32,
}

#[async_trait]
impl Live for Handle {
    fn pid(&self) -> u32 {
        self.pid
    }

    async fn exited(&self) -> Exit {
        let Some(process) = self.memory.find(&self.order) else { return Exit::default() };
        let mut exit = process.exit.subscribe();
        let exit = exit.wait_for(Option::is_some).await.expect("the sender is held here");
        exit.clone().unwrap_or_default()
    }

    async fn answers(&self) -> bool {
        self.memory
            .find(&self.order)
            .is_some_and(|process| process.answering && process.exit.borrow().is_none())
    }

    async fn end(&self, grace: Duration) -> Exit {
        let signal = if grace.is_zero() { 9 } else { 15 };
        let exit = Exit { signal: Some(signal), seen_by_owner: true, ..Exit::default() };
        self.memory.find(&self.order).map(|process| process.end(exit)).unwrap_or_default()
    }

    async fn output(&self, offset: u64) -> Result<Output, SubstrateError> {
        let said = self.memory.remains(&self.order, offset).await;
        let process = self.memory.find(&self.order);
        // Like a pipe, the output ends when the process does.
        let ended = futures::stream::once(async move {
            if let Some(process) = process {
                let mut exit = process.exit.subscribe();
                let _ = exit.wait_for(Option::is_some).await;
            }
        });
        Ok(said.chain(ended.filter_map(|()| async { None })).boxed())
    }

    async fn release(&self) {
        if let Some(process) =
            self.memory.table().processes.get_mut(&(self.order.slot.key(), self.order.start))
        {
            process.released = true;
        }
    }
}
