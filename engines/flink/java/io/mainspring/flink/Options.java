package io.mainspring.flink;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The command line of {@link Main}, in the spelling that `mainspring-flink` writes, because no
 * person types it.
 */
final class Options {
    final Map<String, String> settings = new LinkedHashMap<>();
    final List<String> classpath = new ArrayList<>();
    String jar;
    String mainClass;
    String savepoint;
    String claimMode;
    String parallelism;
    boolean allowNonRestored;
    String[] arguments = {};

    static Options parse(String[] args) throws CannotRun {
        Options options = new Options();
        for (int i = 0; i < args.length; i++) {
            String arg = args[i];
            if (arg.equals("--")) {
                options.arguments = Arrays.copyOfRange(args, i + 1, args.length);
                break;
            } else if (arg.startsWith("-D") && arg.indexOf('=') > 2) {
                options.settings.put(arg.substring(2, arg.indexOf('=')), arg.substring(arg.indexOf('=') + 1));
            } else if (arg.equals("--allow-non-restored")) {
                options.allowNonRestored = true;
            } else if (i + 1 < args.length) {
                options.set(arg, args[++i]);
            } else {
                throw new CannotRun("option " + arg + " is not known or lacks its value");
            }
        }
        if (options.jar == null) {
            throw new CannotRun("there is no --jar");
        }
        return options;
    }

    private void set(String option, String value) throws CannotRun {
        switch (option) {
            case "--jar" -> jar = value;
            case "--class" -> mainClass = value;
            case "--classpath" -> classpath.add(value);
            case "--savepoint" -> savepoint = value;
            case "--claim-mode" -> claimMode = value;
            case "--parallelism" -> parallelism = value;
            default -> throw new CannotRun("option " + option + " is not known");
        }
    }
}
