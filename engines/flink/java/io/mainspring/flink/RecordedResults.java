package io.mainspring.flink;

import java.io.IOException;
import java.util.Collections;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import org.apache.flink.api.common.JobID;
import org.apache.flink.api.common.JobStatus;
import org.apache.flink.runtime.highavailability.AbstractThreadsafeJobResultStore;
import org.apache.flink.runtime.highavailability.JobResultEntry;
import org.apache.flink.runtime.jobmaster.JobResult;
import org.apache.flink.runtime.rest.messages.job.JobExecutionResultResponseBody;
import org.apache.flink.runtime.rest.util.RestMapperUtils;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ObjectNode;
import org.apache.flink.util.SerializedThrowable;
import org.apache.flink.util.concurrent.ExecutorThreadFactory;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The ends of jobs. Flink's dirty entry is the end in the record, and it is there before Flink
 * drops the job's checkpoints. A job that ended is never run again, because each submission asks
 * here first.
 */
final class RecordedResults extends AbstractThreadsafeJobResultStore {
    private static final Logger LOG = LoggerFactory.getLogger(RecordedResults.class);

    private final JobsClient jobs;
    private final OpenJobs open;
    private final Set<JobID> clean = ConcurrentHashMap.newKeySet();

    /**
     * Works on threads of its own, because ends wait without a bound, and Flink's few threads for
     * input and output have checkpoints to do.
     */
    RecordedResults(JobsClient jobs, OpenJobs open) {
        super(Executors.newCachedThreadPool(new ExecutorThreadFactory("mainspring-results")));
        this.jobs = jobs;
        this.open = open;
    }

    @Override
    protected void createDirtyResultInternal(JobResultEntry entry) throws IOException {
        JobResult result = entry.getJobResult();
        ObjectNode end =
                JsonHttp.JSON.createObjectNode()
                        .put("status", status(result))
                        .put("net_runtime_ms", result.getNetRuntime())
                        .put("message", result.getSerializedThrowable().map(RecordedResults::rootCause).orElse(""))
                        .put("execution_result", restAnswer(result));
        jobs.putEnd(result.getJobId(), end);
    }

    @Override
    protected void markResultAsCleanInternal(JobID job) {
        clean.add(job);
        try {
            jobs.putClean(job, OpenJobs.PATIENCE);
        } catch (IOException e) {
            LOG.warn("the jobs process does not hear that job {} is clean", job, e);
        }
        // This comes last: the JVM may be killed once no job is open, and `jobs` stays until it was
        // told.
        open.cleaned(job);
    }

    @Override
    protected boolean hasDirtyJobResultEntryInternal(JobID job) throws IOException {
        return !clean.contains(job) && jobs.job(job, null).path("ended").asBoolean();
    }

    /**
     * A job that an earlier incarnation cleaned counts as dirty here, which refuses a submission
     * just as well.
     */
    @Override
    protected boolean hasCleanJobResultEntryInternal(JobID job) {
        return clean.contains(job);
    }

    /**
     * Empty, because this JobManager does not clean what an earlier incarnation left dirty, which
     * are its files of checkpoints.
     */
    @Override
    protected Set<JobResult> getDirtyResultsInternal() {
        return Collections.emptySet();
    }

    private static String status(JobResult result) {
        if (result.isSuccess()) {
            return "SUCCEEDED";
        }
        return result.getJobStatus().filter(JobStatus.CANCELED::equals).isPresent() ? "CANCELED" : "FAILED";
    }

    private static String restAnswer(JobResult result) throws IOException {
        return RestMapperUtils.getStrictObjectMapper()
                .writeValueAsString(JobExecutionResultResponseBody.created(result));
    }

    private static String rootCause(SerializedThrowable thrown) {
        Throwable cause = thrown;
        while (cause.getCause() != null && cause.getCause() != cause) {
            cause = cause.getCause();
        }
        return Text.firstLines(cause instanceof SerializedThrowable ? cause.getMessage() : cause.toString());
    }
}
