package io.mainspring.flink;

import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import org.apache.flink.api.common.JobID;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.runtime.checkpoint.CompletedCheckpoint;
import org.apache.flink.runtime.persistence.IntegerResourceVersion;
import org.apache.flink.runtime.persistence.PossibleInconsistentStateException;
import org.apache.flink.runtime.persistence.StateHandleStore;
import org.apache.flink.runtime.state.RetrievableStateHandle;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;

/**
 * The pointers of one job's completed checkpoints, kept by `jobs`. Only one JobManager at a time
 * may write them (a superseded one is halted), so that there is nothing to lock, and no object of
 * mainspring is Java-serialised.
 */
final class PointerStore implements StateHandleStore<CompletedCheckpoint, IntegerResourceVersion> {
    private final JobsClient jobs;
    private final JobID job;
    private final Duration patience;

    PointerStore(JobsClient jobs, JobID job, Duration patience) {
        this.jobs = jobs;
        this.job = job;
        this.patience = patience;
    }

    @Override
    public RetrievableStateHandle<CompletedCheckpoint> addAndLock(String name, CompletedCheckpoint checkpoint)
            throws PossibleInconsistentStateException {
        CheckpointPointer pointer = CheckpointPointer.to(checkpoint);
        try {
            jobs.putCheckpoint(job, checkpoint.getCheckpointID(), pointer.toJson(), patience);
        } catch (IOException | RuntimeException e) {
            // Flink deletes the files of a checkpoint unless this exception says that the pointer
            // may have been kept.
            throw new PossibleInconsistentStateException(e);
        }
        return pointer;
    }

    /**
     * Never answers false. Flink deletes the files after a return, so that a pointer which may
     * still be there throws.
     */
    @Override
    public boolean releaseAndTryRemove(String name) throws IOException {
        jobs.deleteCheckpoint(job, PointerNames.INSTANCE.nameToCheckpointID(name), patience);
        return true;
    }

    @Override
    public List<Tuple2<RetrievableStateHandle<CompletedCheckpoint>, String>> getAllAndLock() throws IOException {
        List<Tuple2<RetrievableStateHandle<CompletedCheckpoint>, String>> all = new ArrayList<>();
        for (JsonNode kept : checkpoints()) {
            all.add(Tuple2.of(CheckpointPointer.of(job, kept), name(kept)));
        }
        return all;
    }

    @Override
    public RetrievableStateHandle<CompletedCheckpoint> getAndLock(String name) throws IOException, NotExistException {
        for (JsonNode kept : checkpoints()) {
            if (name(kept).equals(name)) {
                return CheckpointPointer.of(job, kept);
            }
        }
        throw new NotExistException("no checkpoint " + name + " of job " + job);
    }

    @Override
    public Collection<String> getAllHandles() throws IOException {
        List<String> names = new ArrayList<>();
        checkpoints().forEach(kept -> names.add(name(kept)));
        return names;
    }

    @Override
    public IntegerResourceVersion exists(String name) throws IOException {
        return getAllHandles().contains(name) ? IntegerResourceVersion.valueOf(0) : IntegerResourceVersion.notExisting();
    }

    @Override
    public void replace(String name, IntegerResourceVersion version, CompletedCheckpoint checkpoint) {
        throw new UnsupportedOperationException("a completed checkpoint does not change");
    }

    /**
     * Does nothing, because each pointer was removed by itself before. A pointer whose removal
     * failed keeps its files, and so it stays.
     */
    @Override
    public void clearEntries() {}

    @Override
    public void release(String name) {}

    @Override
    public void releaseAll() {}

    @Override
    public String toString() {
        return "the record of job " + job;
    }

    private JsonNode checkpoints() throws IOException {
        return jobs.job(job, patience).path("checkpoints");
    }

    private static String name(JsonNode kept) {
        return PointerNames.INSTANCE.checkpointIDToName(kept.path("id").asLong());
    }
}
