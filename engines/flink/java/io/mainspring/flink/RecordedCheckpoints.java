package io.mainspring.flink;

import java.time.Duration;
import java.util.Collection;
import java.util.concurrent.Executor;
import org.apache.flink.api.common.JobID;
import org.apache.flink.core.execution.RecoveryClaimMode;
import org.apache.flink.runtime.checkpoint.CheckpointIDCounter;
import org.apache.flink.runtime.checkpoint.CheckpointRecoveryFactory;
import org.apache.flink.runtime.checkpoint.CompletedCheckpoint;
import org.apache.flink.runtime.checkpoint.CompletedCheckpointStore;
import org.apache.flink.runtime.checkpoint.DefaultCompletedCheckpointStore;
import org.apache.flink.runtime.checkpoint.DefaultCompletedCheckpointStoreUtils;
import org.apache.flink.runtime.state.SharedStateRegistryFactory;

/** Flink's own store of completed checkpoints, over pointers in the record. */
final class RecordedCheckpoints implements CheckpointRecoveryFactory {
    private final JobsClient jobs;
    private final CheckpointTimeouts timeouts;

    RecordedCheckpoints(JobsClient jobs, CheckpointTimeouts timeouts) {
        this.jobs = jobs;
        this.timeouts = timeouts;
    }

    @Override
    public CompletedCheckpointStore createRecoveredCompletedCheckpointStore(
            JobID job, int retained, SharedStateRegistryFactory registries, Executor io, RecoveryClaimMode claimMode)
            throws Exception {
        Duration patience = timeouts.of(job);
        PointerStore pointers = new PointerStore(jobs, job, patience);
        Collection<CompletedCheckpoint> known =
                DefaultCompletedCheckpointStoreUtils.retrieveCompletedCheckpoints(pointers, PointerNames.INSTANCE);
        return new DefaultCompletedCheckpointStore<>(
                retained, pointers, PointerNames.INSTANCE, known, registries.create(io, known, own(claimMode)), io);
    }

    /**
     * The claim mode for the job's own checkpoints. The given mode is about the snapshot that the
     * job started from, but Flink applies it to the job's own checkpoints too when they are
     * recovered, whose shared files would then never be deleted. A snapshot that is not the job's
     * is known here by its pointer.
     */
    private static RecoveryClaimMode own(RecoveryClaimMode mode) {
        return mode == RecoveryClaimMode.NO_CLAIM ? RecoveryClaimMode.CLAIM : mode;
    }

    @Override
    public CheckpointIDCounter createCheckpointIDCounter(JobID job) {
        return new RecordedIdCounter(jobs, job, timeouts.of(job));
    }
}
