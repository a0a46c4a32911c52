//! So many calls at a time and no more. What is over the limit is refused at once instead of
//! queued, because a queue only makes every caller late.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use proto::{Problem, Reason};
use tokio::sync::Semaphore;

use super::around::{Answering, Around, Below};
use super::{Call, Reply};

/// When a refused caller should try again; clients add jitter.
const RETRY_AFTER: Duration = Duration::from_millis(200);

#[derive(Clone)]
pub(super) struct Limit {
    room: Arc<Semaphore>,
}

impl Limit {
    /// A limit that all clones share.
    pub(super) fn new(calls: usize) -> Self {
        Self { room: Arc::new(Semaphore::new(calls)) }
    }
}

impl Around for Limit {
    fn around<S: Below>(&self, below: &mut S, call: Call) -> Answering {
        let Ok(permit) = self.room.clone().try_acquire_owned() else {
            return Box::pin(ready(Ok(overloaded())));
        };
        let answer = below.call(call);
        Box::pin(async move {
            let answer = answer.await;
            drop(permit);
            answer
        })
    }
}

fn overloaded() -> Reply {
    let text = "the service has as many calls as it takes; nothing was done, try again";
    Problem::new(Reason::Overloaded, text).retry_after(RETRY_AFTER).into_status().into_http()
}
