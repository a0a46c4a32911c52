package io.mainspring.flink;

import java.time.Duration;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.flink.api.common.JobID;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.runtime.jobmanager.StandaloneExecutionPlanStore;
import org.apache.flink.streaming.api.graph.ExecutionPlan;

/**
 * Keeps no plan (the record does), but reads from each plan how long a checkpoint may take. The
 * checkpoint services of a job are made without the job's configuration, and a pointer may wait for
 * `jobs` as long as the checkpoint may take.
 */
final class CheckpointTimeouts extends StandaloneExecutionPlanStore {
    private final Map<JobID, Duration> timeouts = new ConcurrentHashMap<>();
    private final OpenJobs open;

    CheckpointTimeouts(OpenJobs open) {
        this.open = open;
    }

    @Override
    public void putExecutionPlan(ExecutionPlan plan) {
        open.begun(plan.getJobID());
        timeouts.put(plan.getJobID(), plan.getJobConfiguration().get(CheckpointingOptions.CHECKPOINTING_TIMEOUT));
    }

    Duration of(JobID job) {
        return timeouts.getOrDefault(job, CheckpointingOptions.CHECKPOINTING_TIMEOUT.defaultValue());
    }
}
