package io.mainspring.flink;

import java.io.IOException;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import org.apache.flink.api.common.JobID;
import org.apache.flink.api.common.JobStatus;
import org.apache.flink.runtime.checkpoint.CheckpointIDCounter;

/**
 * Ids of checkpoints, which are recorded before they are used, because an id used twice would
 * overwrite an earlier `chk-N`.
 */
final class RecordedIdCounter implements CheckpointIDCounter {
    private final JobsClient jobs;
    private final JobID job;
    private final Duration patience;
    private long next = INITIAL_CHECKPOINT_ID;

    RecordedIdCounter(JobsClient jobs, JobID job, Duration patience) {
        this.jobs = jobs;
        this.job = job;
        this.patience = patience;
    }

    @Override
    public synchronized void start() throws IOException {
        next = jobs.job(job, patience).path("next_checkpoint_id").asLong(INITIAL_CHECKPOINT_ID);
    }

    @Override
    public synchronized long getAndIncrement() throws IOException {
        jobs.putNextCheckpointId(job, next + 1, patience);
        return next++;
    }

    @Override
    public synchronized long get() {
        return next;
    }

    /**
     * Never counts down: Flink sets the counter to what follows a restored checkpoint, which may be
     * older than the last id used.
     */
    @Override
    public synchronized void setCount(long count) throws IOException {
        if (count > next) {
            jobs.putNextCheckpointId(job, count, patience);
            next = count;
        }
    }

    /** Does nothing, because the record drops the counter with the job. */
    @Override
    public CompletableFuture<Void> shutdown(JobStatus status) {
        return CompletableFuture.completedFuture(null);
    }
}
