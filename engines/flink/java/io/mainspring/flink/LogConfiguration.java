package io.mainspring.flink;

import org.apache.logging.log4j.Level;
import org.apache.logging.log4j.core.LoggerContext;
import org.apache.logging.log4j.core.config.AbstractConfiguration;
import org.apache.logging.log4j.core.config.ConfigurationSource;
import org.apache.logging.log4j.core.config.LoggerConfig;

/** Stderr only: whoever started the JVM keeps its output. The level is the role's ({@code -Dmainspring.log.level}). */
final class LogConfiguration extends AbstractConfiguration {
    // Connections that end are said by who needed them.
    private static final String NETTY = "org.apache.flink.shaded.netty4.io.netty.channel.DefaultChannelPipeline";

    LogConfiguration(LoggerContext context) {
        super(context, ConfigurationSource.NULL_SOURCE);
        setName("mainspring");
    }

    /** Not what this usually does, which is to look for plugins that would read a file. */
    @Override
    public void initialize() {
        StderrAppender stderr = new StderrAppender();
        addAppender(stderr);
        Level level = Level.toLevel(System.getProperty("mainspring.log.level"), Level.INFO);
        getRootLogger().setLevel(level);
        getRootLogger().addAppender(stderr, null, null);
        LoggerConfig netty = new LoggerConfig(NETTY, Level.ERROR, false);
        netty.addAppender(stderr, null, null);
        addLogger(NETTY, netty);
        setState(State.INITIALIZED);
    }
}
