package io.mainspring.flink;

import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.DeploymentOptions;
import org.apache.flink.core.execution.PipelineExecutor;
import org.apache.flink.core.execution.PipelineExecutorFactory;

/** The factory that `execution.target: mainspring` chooses. */
public final class MainspringExecutorFactory implements PipelineExecutorFactory {
    static final String NAME = "mainspring";

    /** Called by the service loader. */
    public MainspringExecutorFactory() {}

    @Override
    public String getName() {
        return NAME;
    }

    @Override
    public boolean isCompatibleWith(Configuration configuration) {
        return NAME.equalsIgnoreCase(configuration.get(DeploymentOptions.TARGET));
    }

    @Override
    public PipelineExecutor getExecutor(Configuration configuration) {
        return new MainspringExecutor(configuration);
    }
}
