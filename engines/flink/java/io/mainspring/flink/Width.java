package io.mainspring.flink;

import java.util.HashMap;
import java.util.Map;
import org.apache.flink.configuration.JobManagerOptions;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.runtime.clusterframework.types.ResourceProfile;
import org.apache.flink.runtime.jobgraph.JobType;
import org.apache.flink.streaming.api.graph.StreamGraph;
import org.apache.flink.streaming.api.graph.StreamNode;
import org.apache.flink.util.FlinkException;

/**
 * How many slots a job needs at once. A job that needs more than its cluster has would wait in
 * silence until Flink fails it. The check is made this late because a program that sets its own
 * parallelism names it only now, when the cluster is there.
 *
 * @param slots the slots that the job needs; 0 for a job that does with fewer
 * @param parallelism the largest parallelism of its operators
 */
record Width(int slots, int parallelism) {
    /** What the cluster has, set by `mainspring-flink`; absent where the number is not fixed. */
    private static final String TASKMANAGERS = "mainspring.taskmanagers";

    private static final String SLOTS = "mainspring.slots";
    /** Set where a parallelism of the whole program would get the cluster the slots for it. */
    private static final String FOLLOWS_PARALLELISM = "mainspring.slots-follow-parallelism";

    static Width of(StreamGraph graph) {
        // A batch job runs its stages one after the other in the slots that there are, and Flink's
        // adaptive scheduler makes do with them.
        boolean needsAll = graph.getJobType() == JobType.STREAMING && !isAdaptive(graph.getJobConfiguration());
        Map<String, Integer> groups = new HashMap<>();
        int widest = 0;
        for (StreamNode node : graph.getStreamNodes()) {
            String group = String.valueOf(node.getSlotSharingGroup());
            // A group with resources of its own gets slots of its own size, cut out of what the
            // TaskManagers have.
            needsAll &= graph.getSlotSharingGroupResource(group).orElse(ResourceProfile.UNKNOWN).equals(ResourceProfile.UNKNOWN);
            groups.merge(group, node.getParallelism(), Math::max);
            widest = Math.max(widest, node.getParallelism());
        }
        return new Width(needsAll ? groups.values().stream().mapToInt(Integer::intValue).sum() : 0, widest);
    }

    private static boolean isAdaptive(ReadableConfig configuration) {
        return configuration.get(JobManagerOptions.SCHEDULER) == JobManagerOptions.SchedulerType.Adaptive
                || configuration.getOptional(JobManagerOptions.SCHEDULER_MODE).isPresent();
    }

    void checkFits(String job) throws FlinkException {
        int taskmanagers = Integer.getInteger(TASKMANAGERS, 0);
        int each = Integer.getInteger(SLOTS, 0);
        if (taskmanagers > 0 && each > 0 && slots > taskmanagers * each) {
            throw new TooWide(job, this, taskmanagers, each);
        }
    }

    /** A job that would never start. */
    static final class TooWide extends FlinkException {
        private static final long serialVersionUID = 1L;

        private final String remedy;

        TooWide(String job, Width width, int taskmanagers, int each) {
            super(
                    "job \"" + job.replaceAll("\\s+", " ") + "\" needs " + width.slots + " slots, there are " + taskmanagers * each + " (" + taskmanagers
                            + (taskmanagers == 1 ? " TaskManager" : " TaskManagers") + " of " + each + ")");
            String more = "-D flink.taskmanagers=" + (width.slots + each - 1) / each;
            boolean follows = Boolean.getBoolean(FOLLOWS_PARALLELISM) && width.slots == width.parallelism;
            remedy = "give its cluster as many: " + (follows ? "-p " + width.slots + ", or " + more : more);
        }

        String remedy() {
            return remedy;
        }
    }
}
