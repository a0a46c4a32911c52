package io.mainspring.flink;

import java.io.PrintStream;
import java.util.Arrays;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import org.apache.flink.client.program.ProgramInvocationException;
import org.apache.flink.runtime.client.JobExecutionException;
import org.apache.flink.runtime.util.EnvironmentInformation;

/**
 * Prints what main() threw, for people: the root cause first, then each exception with the frames
 * of the program, while Flink's frames are folded.
 */
final class Failure {
    private static final List<String> NOT_THE_PROGRAM =
            List.of(
                    "java.", "javax.", "jdk.", "sun.", "com.sun.", "org.apache.flink.", "io.mainspring.flink.", "scala.", "org.apache.pekko.",
                    // The libraries that Flink's planner is made of, and the classes that it makes.
                    "org.apache.calcite.", "org.codehaus.janino.", "org.codehaus.commons.", "com.google.common.", "org.immutables.");
    private static final int FRAMES_OF_FLINK = 3;
    private static final String PLUGINS = "through the following plugin(s): ";

    private static final String ANOTHER_FLINK =
            "the jar was built for another Flink: build it for " + EnvironmentInformation.getVersion()
                    + ", with Flink's own classes provided and not in the jar";
    private static final String NEWER_JAVA =
            "the jar was built for a newer Java: build it for " + Runtime.version().feature() + " (javac --release)";

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
            if (isOfClassLoader(each) || repeatsItsCause(each) && !hasFramesOfProgram(each.getStackTrace())) {
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

    /**
     * Whether an exception only repeats its cause, as wrappers of futures do, and what Flink's
     * client and its JobManager say about every job that failed.
     */
    private static boolean repeatsItsCause(Throwable each) {
        Throwable cause = each.getCause();
        String message = String.valueOf(each.getMessage());
        return cause != null
                && (message.equals(cause.toString()) || message.startsWith("Job failed (") || message.equals("Job execution failed."));
    }

    /**
     * Whether an exception and its cause are about one missing class. The cause then repeats the
     * frames of the code that needed the class, and spells the class's name as Java does.
     */
    private static boolean isOfClassLoader(Throwable each) {
        return each instanceof NoClassDefFoundError && each.getCause() instanceof ClassNotFoundException;
    }

    private static String remedy(Set<Throwable> chain, Throwable root, boolean ofJob) {
        if (root instanceof Width.TooWide tooWide) {
            return tooWide.remedy();
        }
        String fileSystem = ofJob ? null : chain.stream().map(Failure::loadIt).filter(Objects::nonNull).findFirst().orElse(null);
        if (fileSystem != null) {
            return fileSystem;
        }
        if (root instanceof OutOfMemoryError) {
            return ofJob
                    ? "give its TaskManagers more memory: -D taskmanager.memory.process.size=4g"
                    : "give main() more memory: -D flink.main.heap=1g";
        }
        if (chain.stream().anyMatch(each -> String.valueOf(each.getMessage()).contains("create checkpoint storage"))) {
            return "execution.checkpointing.dir has to be a directory that every process of the cluster can write";
        }
        return chain.stream().map(Failure::buildItFor).filter(Objects::nonNull).findFirst().orElse(null);
    }

    /**
     * The remedy if a file system is missing that Flink has a plugin for. For a job's failure the
     * job's end has the remedy.
     */
    private static String loadIt(Throwable thrown) {
        String message = String.valueOf(thrown.getMessage());
        int at = message.indexOf(PLUGINS);
        if (at < 0) {
            return message.contains("Hadoop is not in the classpath")
                    ? "say where Hadoop is: HADOOP_CLASSPATH=$(hadoop classpath) mainspring run ..."
                    : null;
        }
        // The one plugin that Flink's message calls by another name than its own.
        String said = message.substring(at + PLUGINS.length()).replace("flink-fs-azure-", "flink-azure-fs-");
        String names = said.split("\\. ", 2)[0].replace("flink-", "");
        String first = names.split(",", 2)[0];
        return "a plugin brings it (" + names + "): mainspring setup flink --plugin " + first + ", then -D flink.plugins=" + first;
    }

    /**
     * The remedy if the jar needs something of Flink or Java that the running versions do not have;
     * null for everything else.
     */
    static String buildItFor(Throwable thrown) {
        if (thrown instanceof UnsupportedClassVersionError) {
            return NEWER_JAVA;
        }
        String message = String.valueOf(thrown.getMessage()).replace('/', '.');
        boolean misses = thrown instanceof LinkageError || thrown instanceof ClassNotFoundException;
        return misses && message.contains("org.apache.flink.") ? ANOTHER_FLINK : null;
    }

    /**
     * Prints the program's frames in full; of a root cause without any of them it prints the top
     * ones.
     */
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

    /** Whether a frame is the program's. Flink's examples are programs too. */
    private static boolean isOfProgram(StackTraceElement frame) {
        String name = frame.getClassName();
        return name.contains(".flink.") && name.contains(".examples.") || NOT_THE_PROGRAM.stream().noneMatch(name::startsWith);
    }
}
