//! Work that is not cut when its caller goes. The server drops a call when its caller goes, and a
//! leader that is told *clean* leaves.

use chassis::tasks::detached;
use tokio::sync::oneshot;

use crate::error::Error;

/// Does the work to its end, and answers a caller that is still there.
pub(super) async fn to_its_end<T: Send + 'static>(
    name: &'static str,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Error> {
    let (done, answer) = oneshot::channel();
    let why = "its caller may be gone before it is done, and half of it would be left to the periodic sweep";
    detached(name, why, async move {
        // The caller may have gone.
        let _ = done.send(work.await);
    });
    answer.await.map_err(|_| Error::Internal(format!("{name} has ended without an answer")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use chassis::clock::{SystemClock, timeout};
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn what_was_begun_is_done_although_its_caller_has_gone() {
        let (go_on, did) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let mut call = Box::pin(to_its_end("test", {
            let (go_on, did) = (go_on.clone(), did.clone());
            async move {
                go_on.notified().await;
                did.notify_one();
            }
        }));
        assert!(futures::poll!(&mut call).is_pending());
        drop(call);
        go_on.notify_one();
        let within = std::time::Duration::from_secs(20);
        timeout(&SystemClock, within, did.notified()).await.expect("it was done");
        assert_eq!(to_its_end("test", async { 3 }).await, Ok(3));
    }
}
