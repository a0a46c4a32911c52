package io.mainspring.flink;

import java.io.IOException;
import java.time.Duration;
import java.util.HashSet;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.apache.flink.api.common.JobID;

/** The jobs for which this JVM still has something to do. */
final class OpenJobs {
    /**
     * Set where a JVM has to come to its end in Flink's order, because a class-data archive is
     * written there.
     */
    private static final String IN_ORDER = "mainspring.end-in-order";

    /**
     * How long a JobManager may stay to remove what is left after a job's end. `jobs` waits as long
     * (unclean.rs), and a teardown a little longer.
     */
    static final Duration PATIENCE = Duration.ofMillis(1500);

    private final Set<JobID> open = new HashSet<>();

    synchronized void begun(JobID job) {
        open.add(job);
    }

    /**
     * Notes that the job's end is recorded, and that nothing is left of the job which has to be
     * removed.
     */
    synchronized void cleaned(JobID job) {
        open.remove(job);
        notifyAll();
    }

    /**
     * Has a JobManager that is asked to end do so at once when it has no open job, or as soon as it
     * has none. Flink's own order would only close down what its process takes with it anyway, and
     * lifecycle removes the JVM's directories.
     */
    void endAtOnceWithoutAny() {
        if (!Boolean.getBoolean(IN_ORDER)) {
            Runtime.getRuntime().addShutdownHook(new Thread(this::endAtOnce, "mainspring-end"));
        }
    }

    private void endAtOnce() {
        try {
            if (isNoneWithin(PATIENCE.toMillis())) {
                // A JVM that ends by itself waits a third of a second for threads that wait for the
                // network.
                new ProcessBuilder("/bin/sh", "-c", "kill -KILL \"$PPID\"").start();
            }
        } catch (IOException | InterruptedException e) {
            // The JVM then ends in Flink's order.
        }
    }

    private synchronized boolean isNoneWithin(long millis) throws InterruptedException {
        long until = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(millis);
        for (long left = millis; !open.isEmpty() && left > 0; left = TimeUnit.NANOSECONDS.toMillis(until - System.nanoTime())) {
            wait(left);
        }
        return open.isEmpty();
    }
}
