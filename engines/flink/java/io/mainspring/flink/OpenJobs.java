package io.mainspring.flink;

import java.io.IOException;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.flink.api.common.JobID;

/** Jobs for which this JVM still has something to do. */
final class OpenJobs {
    /** Set where a JVM has to come to its end in Flink's order: a class-data archive is written there. */
    private static final String IN_ORDER = "mainspring.end-in-order";

    private final Set<JobID> open = ConcurrentHashMap.newKeySet();

    void begun(JobID job) {
        open.add(job);
    }

    /** Its end is recorded, and nothing of it is left that has to be removed. */
    void cleaned(JobID job) {
        open.remove(job);
    }

    /**
     * A JobManager that is asked to end and has no open job ends at once. Flink would close down what its process takes with it anyhow,
     * and whoever started it removes its directories.
     */
    void endAtOnceWithoutAny() {
        if (!Boolean.getBoolean(IN_ORDER)) {
            Runtime.getRuntime().addShutdownHook(new Thread(this::endAtOnce, "mainspring-end"));
        }
    }

    private void endAtOnce() {
        if (!open.isEmpty()) {
            return;
        }
        try {
            // A JVM that ends by itself waits a third of a second for threads that wait for the network.
            new ProcessBuilder("/bin/sh", "-c", "kill -KILL \"$PPID\"").start();
        } catch (IOException e) {
            // Then it ends in Flink's order.
        }
    }
}
