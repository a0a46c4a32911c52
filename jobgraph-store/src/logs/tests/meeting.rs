//! Readers that have a chunk's pointer in their hands when the chunk is merged with others.

use super::*;

/// A backend that, while it is told to, keeps from readers of chunks what they found.
struct Slow {
    inner: Arc<MemoryMetadata>,
    keeps: watch::Sender<bool>,
    kept: watch::Sender<usize>,
}

#[async_trait]
impl Over for Slow {
    fn below(&self) -> &dyn Metadata {
        &*self.inner
    }

    async fn read(&self, reads: Vec<Read>, at: Option<u64>) -> Result<View, StoreError> {
        let looks_for_a_chunk = reads.iter().any(|read| matches!(read, Read::Last { .. }));
        let view = self.inner.read(reads, at).await?;
        if looks_for_a_chunk && *self.keeps.borrow() {
            self.kept.send_modify(|kept| *kept += 1);
            let _ = self.keeps.subscribe().wait_for(|keeps| !keeps).await;
        }
        Ok(view)
    }
}

#[tokio::test]
async fn readers_whose_chunk_is_merged_before_they_read_it_miss_and_repeat_nothing() {
    let bench = bench(KEPT_BYTES).await;
    let (appender, _) = bench.service.append_logs(&bench.application, &main_of(1)).await.unwrap();
    let line = |n: u64| format!("{n:02} {}", "x".repeat(9000));
    let say = async |n: u64| {
        appender.take(&[chunk(n * 9004, &format!("{}\n", line(n)))], false).await.unwrap();
        appender.flush().await.unwrap();
    };
    for n in 1..16 {
        say(n).await;
    }
    assert_eq!(bench.blobs.list().await.unwrap().len(), 15, "each chunk has a payload of its own");

    let slow = Slow {
        inner: bench.metadata.clone(),
        keeps: watch::Sender::new(true),
        kept: watch::Sender::default(),
    };
    let slow = Arc::new(slow);
    // This service has nothing in memory.
    let other = Service::new(slow.clone(), Arc::new(bench.blobs.clone()), bench.clock.clone());
    let readers = ["", "5"].map(|after| {
        let other = other.clone();
        tokio::spawn(async move { read(&other, after).await })
    });
    let met = timeout(&SystemClock, Duration::from_secs(20), async {
        slow.kept.subscribe().wait_for(|kept| *kept == 2).await.map(drop)
    });
    met.await.expect("both readers look for a chunk").unwrap();
    say(16).await;
    assert_eq!(bench.blobs.list().await.unwrap().len(), 1, "all chunks are one by now");
    slow.keeps.send_replace(false);

    for (reader, after) in readers.into_iter().zip([0, 5]) {
        let lines = reader.await.unwrap();
        let texts: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(&line.text)).collect();
        assert_eq!(texts, (after + 1..=16).map(line).collect::<Vec<_>>(), "after {after}");
        assert!(lines.iter().all(|line| line.lost_before == 0), "nothing was lost");
    }
}
