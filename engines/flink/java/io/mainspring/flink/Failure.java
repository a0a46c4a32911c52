package io.mainspring.flink;

import java.io.PrintStream;
import java.util.Arrays;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Set;
import org.apache.flink.client.program.ProgramInvocationException;
import org.apache.flink.runtime.client.JobExecutionException;
import org.apache.flink.runtime.util.EnvironmentInformation;

/** What main() threw, for people: the root cause first, then each exception with the frames of the program, Flink's folded. */
final class Failure {
    private static final List<String> NOT_THE_PROGRAM =
            List.of("java.", "javax.", "jdk.", "sun.", "org.apache.flink.", "io.mainspring.flink.", "scala.", "org.apache.pekko.");
    private static final int FRAMES_OF_FLINK = 3;

    /** What to do about it. */
    static final String ANOTHER_FLINK =
            "the jar was built for another Flink: build it for " + EnvironmentInformation.getVersion()
                    + ", with Flink's own classes provided and not in the jar";

    private final Throwable thrown;
    private final String mainClass;

    Failure(Throwable thrown, String mainClass) {
        // Flink's wrapper of what main() threw says nothing by itself.
        boolean wrapper = thrown instanceof ProgramInvocationException && thrown.getCause() != null;
        this.thrown = wrapper ? thrown.getCause() : thrown;
        this.mainClass = mainClass;
    }

    void print(PrintStream out) {
        Set<Throwable> chain = Collections.newSetFromMap(new IdentityHashMap<>());
        Throwable root = thrown;
        while (chain.add(root) && root.getCause() != null) {
            root = root.getCause();
        }
        boolean ofJob = chain.stream().anyMatch(JobExecutionException.class::isInstance);
        String what = ofJob ? "a job of " + mainClass + " failed: " : "main() of " + mainClass + " threw ";
        out.println("error: " + what + Text.firstLine(root.toString()));
        chain.clear();
        String lead = "";
        for (Throwable each = thrown; each != null && chain.add(each); each = each.getCause()) {
            if (repeatsItsCause(each) && !hasFramesOfProgram(each.getStackTrace())) {
                continue;
            }
            out.println(lead + Text.firstLines(each.toString()));
            printFrames(each.getStackTrace(), each == root, out);
            lead = "caused by: ";
        }
        String remedy = remedy(chain, root, ofJob);
        if (remedy != null) {
            out.println("help: " + remedy);
        }
    }

    /** Wrappers of futures, and what Flink's client and its JobManager say about every job that failed. */
    private static boolean repeatsItsCause(Throwable each) {
        Throwable cause = each.getCause();
        String message = String.valueOf(each.getMessage());
        return cause != null
                && (message.equals(cause.toString()) || message.startsWith("Job failed (") || message.equals("Job execution failed."));
    }

    private static String remedy(Set<Throwable> chain, Throwable root, boolean ofJob) {
        if (root instanceof OutOfMemoryError) {
            return ofJob
                    ? "give its TaskManagers more memory: -D taskmanager.memory.process.size=4g"
                    : "give main() more memory: -D flink.main.heap=1g";
        }
        if (chain.stream().anyMatch(each -> String.valueOf(each.getMessage()).contains("create checkpoint storage"))) {
            return "execution.checkpointing.dir has to be a directory that every process of the cluster can write";
        }
        return chain.stream().anyMatch(Failure::misses) ? ANOTHER_FLINK : null;
    }

    /** Something of Flink's that this version does not have. */
    static boolean misses(Throwable thrown) {
        String message = String.valueOf(thrown.getMessage()).replace('/', '.');
        return (thrown instanceof LinkageError || thrown instanceof ClassNotFoundException) && message.contains("org.apache.flink.");
    }

    /** The program's frames in full, and of a root cause without any of them the top ones. */
    private static void printFrames(StackTraceElement[] frames, boolean isRoot, PrintStream out) {
        boolean ofProgram = hasFramesOfProgram(frames);
        int folded = 0;
        int shown = 0;
        for (StackTraceElement frame : frames) {
            if (isOfProgram(frame) || (isRoot && !ofProgram && shown < FRAMES_OF_FLINK)) {
                folded = printFolded(folded, out);
                out.println("    at " + frame);
                shown++;
            } else {
                folded++;
            }
        }
        if (ofProgram || isRoot) {
            printFolded(folded, out);
        }
    }

    private static boolean hasFramesOfProgram(StackTraceElement[] frames) {
        return Arrays.stream(frames).anyMatch(Failure::isOfProgram);
    }

    private static int printFolded(int folded, PrintStream out) {
        if (folded > 0) {
            out.println("    ... " + folded + (folded == 1 ? " frame" : " frames") + " of Flink and the JDK");
        }
        return 0;
    }

    /** Flink's examples are programs too. */
    private static boolean isOfProgram(StackTraceElement frame) {
        String name = frame.getClassName();
        return name.contains(".flink.") && name.contains(".examples.") || NOT_THE_PROGRAM.stream().noneMatch(name::startsWith);
    }
}
