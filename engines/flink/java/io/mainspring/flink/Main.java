package io.mainspring.flink;

import org.apache.flink.client.ClientUtils;
import org.apache.flink.client.program.PackagedProgram;
import org.apache.flink.core.execution.DefaultExecutorServiceLoader;
import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.plugin.PluginUtils;

/**
 * The JVM that runs the main() of a Flink program: what `flink run` does, without a command line of
 * its own.
 */
public final class Main {
    private static final int FAILED = 1;
    private static final int CANNOT_RUN = 2;

    private Main() {}

    /** Exits by itself, because a program may leave threads behind. */
    public static void main(String[] args) {
        System.exit(run(args));
    }

    private static int run(String[] args) {
        UserProgram program;
        try {
            program = UserProgram.load(Options.parse(args));
        } catch (CannotRun e) {
            System.err.println("error: " + e.getMessage());
            return CANNOT_RUN;
        }
        try (PackagedProgram packaged = program.packaged()) {
            return execute(packaged, program);
        }
    }

    private static int execute(PackagedProgram packaged, UserProgram program) {
        String mainClass = packaged.getMainClassName();
        try {
            FileSystem.initialize(
                    program.configuration(), PluginUtils.createPluginManagerFromRootFolder(program.configuration()));
            // What Flink prints about submissions is not main()'s output; the record tells of them.
            boolean suppressSysout = true;
            ClientUtils.executeProgram(
                    new DefaultExecutorServiceLoader(), program.configuration(), packaged, false, suppressSysout);
        } catch (Throwable e) {
            new Failure(e, mainClass).print(System.err);
            return FAILED;
        }
        if (MainspringExecutor.executed() == 0) {
            System.err.println(
                    "error: main() of " + mainClass + " returned without a job: it never called execute(); call it on the environment");
            return FAILED;
        }
        return 0;
    }
}
