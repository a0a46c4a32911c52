package io.mainspring.flink;

import java.io.PrintStream;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Set;
import org.apache.flink.client.program.ProgramInvocationException;

/** What main() threw, for people: the root cause first, then each exception with the frames of the program, Flink's folded. */
final class Failure {
    private static final List<String> NOT_THE_PROGRAM =
            List.of("java.", "javax.", "jdk.", "sun.", "org.apache.flink.", "io.mainspring.flink.", "scala.", "org.apache.pekko.");
    private static final int FRAMES_OF_FLINK = 3;

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
        out.println("error: main() of " + mainClass + " threw " + Text.firstLine(root.toString()));
        chain.clear();
        for (Throwable each = thrown; each != null && chain.add(each); each = each.getCause()) {
            out.println((each == thrown ? "" : "caused by: ") + Text.firstLines(each.toString()));
            printFrames(each.getStackTrace(), each == root, out);
        }
    }

    /** The program's frames in full, and of a root cause without any of them the top ones. */
    private static void printFrames(StackTraceElement[] frames, boolean isRoot, PrintStream out) {
        boolean ofProgram = false;
        for (StackTraceElement frame : frames) {
            ofProgram |= isOfProgram(frame);
        }
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
