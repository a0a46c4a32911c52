package io.mainspring.flink;

import java.io.File;
import java.io.IOException;
import java.net.MalformedURLException;
import java.net.URI;
import java.net.URL;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.zip.ZipFile;
import org.apache.flink.client.program.PackagedProgram;
import org.apache.flink.client.program.ProgramInvocationException;
import org.apache.flink.configuration.ConfigUtils;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.CoreOptions;
import org.apache.flink.configuration.DeploymentOptions;
import org.apache.flink.configuration.PipelineOptions;
import org.apache.flink.configuration.StateRecoveryOptions;
import org.apache.flink.core.execution.RecoveryClaimMode;
import org.apache.flink.runtime.jobgraph.SavepointRestoreSettings;

/**
 * A jar as Flink's client loads it, with Flink's configuration for it: what `flink run` makes of
 * its options.
 */
record UserProgram(PackagedProgram packaged, Configuration configuration) {
    static UserProgram load(Options options) throws CannotRun {
        File jar = new File(options.jar);
        checkIsJar(jar);
        Configuration configuration = Configuration.fromMap(options.settings);
        List<URL> classpath = urls(options.classpath);
        SavepointRestoreSettings savepoint = savepoint(options, configuration);
        PackagedProgram packaged;
        try {
            packaged =
                    PackagedProgram.newBuilder()
                            .setJarFile(jar)
                            .setEntryPointClassName(options.mainClass)
                            .setUserClassPaths(classpath)
                            .setConfiguration(configuration)
                            .setSavepointRestoreSettings(savepoint)
                            .setArguments(options.arguments)
                            .build();
        } catch (ProgramInvocationException | RuntimeException e) {
            throw new CannotRun(why(e, options));
        }
        configuration.set(DeploymentOptions.TARGET, MainspringExecutorFactory.NAME);
        configuration.set(DeploymentOptions.ATTACHED, true);
        ConfigUtils.encodeCollectionToConfig(
                configuration, PipelineOptions.JARS, packaged.getJobJarAndDependencies(), URL::toString);
        ConfigUtils.encodeCollectionToConfig(configuration, PipelineOptions.CLASSPATHS, classpath, URL::toString);
        SavepointRestoreSettings.toConfiguration(savepoint, configuration);
        if (options.parallelism != null) {
            configuration.setString(CoreOptions.DEFAULT_PARALLELISM.key(), options.parallelism);
        }
        return new UserProgram(packaged, configuration);
    }

    /**
     * Opens the file, so that a file which is no archive is told apart from a jar without the
     * class.
     */
    private static void checkIsJar(File jar) throws CannotRun {
        if (!jar.isFile()) {
            throw new CannotRun(jar + " is no file; name the program's jar");
        }
        try {
            new ZipFile(jar).close();
        } catch (IOException e) {
            throw new CannotRun(jar.getName() + " is not a jar (" + e.getMessage() + "); build the program and name its jar");
        }
    }

    private static String why(Exception e, Options options) {
        String jar = new File(options.jar).getName();
        Throwable cause = e.getCause();
        if (options.mainClass == null && cause == null) {
            return jar + " names no main class in its manifest; choose one with -c CLASS";
        }
        if (cause instanceof ClassNotFoundException) {
            return jar + " holds no class \"" + options.mainClass + "\"; name the main class with its package: -c org.example.Main";
        }
        String remedy = cause == null ? null : Failure.buildItFor(cause);
        if (remedy != null) {
            return jar + " cannot be run: " + cause + "; " + remedy;
        }
        return jar + " cannot be run: " + e.getMessage() + (cause == null ? "" : " (" + cause + ")");
    }

    private static List<URL> urls(List<String> texts) throws CannotRun {
        List<URL> urls = new ArrayList<>();
        for (String text : texts) {
            try {
                urls.add(URI.create(text).toURL());
            } catch (MalformedURLException | IllegalArgumentException e) {
                throw new CannotRun("class path entry \"" + text + "\" is no URL (" + e.getMessage() + "); write file:///path/x.jar");
            }
        }
        return urls;
    }

    private static SavepointRestoreSettings savepoint(Options options, Configuration configuration) throws CannotRun {
        if (options.savepoint == null) {
            return SavepointRestoreSettings.fromConfiguration(configuration);
        }
        RecoveryClaimMode mode = StateRecoveryOptions.RESTORE_MODE.defaultValue();
        if (options.claimMode != null) {
            try {
                mode = RecoveryClaimMode.valueOf(options.claimMode.toUpperCase(Locale.ROOT));
            } catch (IllegalArgumentException e) {
                throw new CannotRun("claim mode \"" + options.claimMode + "\" is none of NO_CLAIM, CLAIM, LEGACY");
            }
        }
        return SavepointRestoreSettings.forPath(options.savepoint, options.allowNonRestored, mode);
    }
}
