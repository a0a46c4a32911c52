package io.mainspring.flink;

import org.apache.flink.runtime.checkpoint.CheckpointRecoveryFactory;
import org.apache.flink.runtime.highavailability.JobResultStore;
import org.apache.flink.runtime.highavailability.nonha.standalone.StandaloneHaServices;
import org.apache.flink.runtime.jobmanager.ExecutionPlanStore;

/**
 * High availability with fixed addresses, because JobManager and TaskManagers are started and
 * replaced together, and with the state of jobs in the record. A TaskManager only asks for
 * addresses, and never talks to `jobs`.
 */
final class MainspringHaServices extends StandaloneHaServices {
    private final OpenJobs open = new OpenJobs();
    private final CheckpointTimeouts timeouts = new CheckpointTimeouts(open);
    private JobsClient jobs;
    private JobResultStore results;

    MainspringHaServices(String resourceManager, String dispatcher, String rest) {
        super(resourceManager, dispatcher, rest);
    }

    @Override
    public CheckpointRecoveryFactory getCheckpointRecoveryFactory() {
        return new RecordedCheckpoints(jobs(), timeouts);
    }

    @Override
    public ExecutionPlanStore getExecutionPlanStore() {
        return timeouts;
    }

    @Override
    public synchronized JobResultStore getJobResultStore() {
        if (results == null) {
            results = new RecordedResults(jobs(), open);
            open.endAtOnceWithoutAny();
        }
        return results;
    }

    private synchronized JobsClient jobs() {
        if (jobs == null) {
            jobs = JobsClient.fromEnvironment();
        }
        return jobs;
    }
}
