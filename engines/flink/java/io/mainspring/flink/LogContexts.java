package io.mainspring.flink;

import java.net.URI;
import org.apache.logging.log4j.core.LifeCycle;
import org.apache.logging.log4j.core.LoggerContext;
import org.apache.logging.log4j.core.config.ConfigurationFactory;
import org.apache.logging.log4j.core.impl.Log4jContextFactory;
import org.apache.logging.log4j.util.PropertiesUtil;

/**
 * Starts a context with {@link LogConfiguration}. If a configuration file is named, the context
 * starts as log4j does it.
 */
final class LogContexts extends Log4jContextFactory {
    private final boolean isFileNamed =
            PropertiesUtil.getProperties().getStringProperty(ConfigurationFactory.CONFIGURATION_FILE_PROPERTY) != null;

    @Override
    public LoggerContext getContext(String caller, ClassLoader loader, Object external, boolean current) {
        return getContext(caller, loader, external, current, (URI) null, null);
    }

    @Override
    public LoggerContext getContext(String caller, ClassLoader loader, Object external, boolean current, URI location, String name) {
        if (location == null && !isFileNamed) {
            LoggerContext context = getSelector().getContext(caller, loader, current);
            if (context.getState() == LifeCycle.State.INITIALIZED) {
                context.start(new LogConfiguration(context));
            }
        }
        return super.getContext(caller, loader, external, current, location, name);
    }
}
