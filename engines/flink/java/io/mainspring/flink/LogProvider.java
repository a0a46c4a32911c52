package io.mainspring.flink;

import org.apache.logging.log4j.core.impl.Log4jProvider;
import org.apache.logging.log4j.spi.LoggerContextFactory;

/**
 * Log4j as Flink ships it, without the search for a configuration and the reading of one, which are
 * a fifth of what the main thread of a JobManager does until it serves. Named by {@code
 * -Dlog4j.provider}.
 */
public final class LogProvider extends Log4jProvider {
    private static final LoggerContextFactory CONTEXTS = new LogContexts();

    /** Called by log4j. */
    public LogProvider() {}

    @Override
    public LoggerContextFactory getLoggerContextFactory() {
        return CONTEXTS;
    }
}
