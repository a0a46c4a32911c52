package io.mainspring.flink;

import org.apache.logging.log4j.Level;
import org.apache.logging.log4j.core.LoggerContext;
import org.apache.logging.log4j.core.config.AbstractConfiguration;
import org.apache.logging.log4j.core.config.ConfigurationSource;
import org.apache.logging.log4j.core.config.LoggerConfig;

/**
 * Logs to stderr only, because the process that started the JVM keeps its output. The level is the
 * role's ({@code -Dmainspring.log.level}).
 */
final class LogConfiguration extends AbstractConfiguration {
    // The code that needs a connection reports its end, so that Netty's own warnings are left out.
    private static final String NETTY = "org.apache.flink.shaded.netty4.io.netty.channel.DefaultChannelPipeline";

    LogConfiguration(LoggerContext context) {
        super(context, ConfigurationSource.NULL_SOURCE);
        setName("mainspring");
    }

    /**
     * Does not do what the method usually does, which is to look for plugins that would read a
     * file.
     */
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
