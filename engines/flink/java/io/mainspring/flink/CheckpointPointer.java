package io.mainspring.flink;

import java.io.DataInputStream;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.apache.flink.api.common.JobID;
import org.apache.flink.api.common.JobStatus;
import org.apache.flink.runtime.checkpoint.CheckpointProperties;
import org.apache.flink.runtime.checkpoint.CheckpointRetentionPolicy;
import org.apache.flink.runtime.checkpoint.Checkpoints;
import org.apache.flink.runtime.checkpoint.CompletedCheckpoint;
import org.apache.flink.runtime.checkpoint.OperatorState;
import org.apache.flink.runtime.checkpoint.metadata.CheckpointMetadata;
import org.apache.flink.runtime.jobgraph.OperatorID;
import org.apache.flink.runtime.state.CompletedCheckpointStorageLocation;
import org.apache.flink.runtime.state.RetrievableStateHandle;
import org.apache.flink.runtime.state.filesystem.AbstractFsCheckpointStorageAccess;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ObjectNode;

/**
 * Where a completed checkpoint is. The checkpoint itself is restored from its own `_metadata` file.
 */
final class CheckpointPointer implements RetrievableStateHandle<CompletedCheckpoint> {
    private static final long serialVersionUID = 1L;
    /** The ends of a job, in Flink's words and in the record's. */
    private static final Map<JobStatus, String> ENDS =
            Map.of(
                    JobStatus.FINISHED, "JOB_OUTCOME_SUCCEEDED",
                    JobStatus.FAILED, "JOB_OUTCOME_FAILED",
                    JobStatus.CANCELED, "JOB_OUTCOME_CANCELLED");

    private final JobID job;
    private final String pointer;
    private final long createdMs;
    private final long completedMs;
    /**
     * Whether the job does not own the files, because they are those of a savepoint, or of a
     * snapshot that the job started from without claiming it.
     */
    private final boolean savepoint;
    /** The ends of the job with which the checkpoint is discarded, in the record's words. */
    private final List<String> discardedAfter;

    private CheckpointPointer(
            JobID job, String pointer, long createdMs, long completedMs, boolean savepoint, List<String> discardedAfter) {
        this.job = job;
        this.pointer = pointer;
        this.createdMs = createdMs;
        this.completedMs = completedMs;
        this.savepoint = savepoint;
        this.discardedAfter = discardedAfter;
    }

    static CheckpointPointer to(CompletedCheckpoint checkpoint) {
        return new CheckpointPointer(
                checkpoint.getJobId(),
                checkpoint.getExternalPointer(),
                checkpoint.getTimestamp(),
                checkpoint.getCompletionTimestamp(),
                checkpoint.getProperties().isSavepoint(),
                discardedAfter(checkpoint));
    }

    static CheckpointPointer of(JobID job, JsonNode kept) {
        return new CheckpointPointer(
                job,
                kept.path("pointer").asText(),
                kept.path("created_ms").asLong(),
                kept.path("completed_ms").asLong(),
                kept.path("savepoint").asBoolean(),
                texts(kept.path("discarded_after")));
    }

    private static List<String> texts(JsonNode array) {
        List<String> texts = new ArrayList<>();
        array.forEach(text -> texts.add(text.asText()));
        return texts;
    }

    private static List<String> discardedAfter(CompletedCheckpoint checkpoint) {
        return ENDS.entrySet().stream()
                .filter(end -> checkpoint.shouldBeDiscardedOnShutdown(end.getKey()))
                .map(Map.Entry::getValue)
                .collect(Collectors.toList());
    }

    ObjectNode toJson() {
        ObjectNode json =
                JsonHttp.JSON.createObjectNode()
                        .put("pointer", pointer)
                        .put("created_ms", createdMs)
                        .put("completed_ms", completedMs)
                        .put("savepoint", savepoint);
        discardedAfter.forEach(json.putArray("discarded_after")::add);
        return json;
    }

    @Override
    public CompletedCheckpoint retrieveState() throws IOException {
        CompletedCheckpointStorageLocation location =
                AbstractFsCheckpointStorageAccess.resolveCheckpointPointer(pointer);
        CheckpointMetadata metadata;
        try (DataInputStream in = new DataInputStream(location.getMetadataHandle().openInputStream())) {
            metadata = Checkpoints.loadCheckpointMetadata(in, getClass().getClassLoader(), pointer);
        }
        Map<OperatorID, OperatorState> states =
                metadata.getOperatorStates().stream()
                        .collect(Collectors.toMap(OperatorState::getOperatorID, Function.identity()));
        return new CompletedCheckpoint(
                job,
                metadata.getCheckpointId(),
                createdMs,
                completedMs,
                states,
                metadata.getMasterStates(),
                properties(metadata),
                location,
                null,
                metadata.getCheckpointProperties());
    }

    /**
     * Which ends of the job delete the files. The `_metadata` tells how the snapshot was made,
     * which is not how the job holds it: a snapshot that the job does not own is never deleted, and
     * a savepoint that the job claimed is a checkpoint like any other.
     */
    private CheckpointProperties properties(CheckpointMetadata metadata) {
        CheckpointProperties made = metadata.getCheckpointProperties();
        if (savepoint) {
            return CheckpointProperties.forUnclaimedSnapshot();
        }
        return made != null && !made.isSavepoint()
                ? made
                : CheckpointProperties.forCheckpoint(CheckpointRetentionPolicy.RETAIN_ON_CANCELLATION);
    }

    /**
     * Does nothing, because behind the pointer there is only the checkpoint, which Flink discards
     * by itself.
     */
    @Override
    public void discardState() {}

    @Override
    public long getStateSize() {
        return 0;
    }
}
