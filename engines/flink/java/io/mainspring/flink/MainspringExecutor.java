package io.mainspring.flink;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.flink.api.common.JobID;
import org.apache.flink.api.dag.Pipeline;
import org.apache.flink.client.deployment.executors.RemoteExecutor;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.DeploymentOptions;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.streaming.api.graph.StreamGraph;

/**
 * Flink's own remote executor, which first asks the front for the job's id. The ids come from the
 * front because a main() that runs again after a fail-over has to find its earlier jobs.
 */
final class MainspringExecutor extends RemoteExecutor {
    private static final AtomicInteger EXECUTED = new AtomicInteger();

    MainspringExecutor(Configuration configuration) {
        super(configuration);
    }

    /** How many jobs this JVM has asked for. */
    static int executed() {
        return EXECUTED.get();
    }

    @Override
    public CompletableFuture<JobClient> execute(Pipeline pipeline, Configuration configuration, ClassLoader userCode)
            throws Exception {
        EXECUTED.incrementAndGet();
        StreamGraph graph = (StreamGraph) pipeline;
        Width.of(graph).checkFits(graph.getJobName());
        Front front = Front.of(configuration);
        String id = front.reserve(graph.getJobName(), graph.getStreamingPlanAsJSON(), Printing.isIn(graph));
        graph.setJobId(JobID.fromHexString(id));
        Configuration remote = new Configuration(configuration);
        remote.set(DeploymentOptions.TARGET, RemoteExecutor.NAME);
        return super.execute(pipeline, remote, userCode);
    }
}
