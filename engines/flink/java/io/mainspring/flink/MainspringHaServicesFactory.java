package io.mainspring.flink;

import java.util.concurrent.Executor;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.HighAvailabilityOptions;
import org.apache.flink.configuration.JobManagerOptions;
import org.apache.flink.configuration.RestOptions;
import org.apache.flink.configuration.SecurityOptions;
import org.apache.flink.runtime.highavailability.HighAvailabilityServices;
import org.apache.flink.runtime.highavailability.HighAvailabilityServicesFactory;

/**
 * The factory that `high-availability.type` names in the configuration of JobManager and
 * TaskManager.
 */
public final class MainspringHaServicesFactory implements HighAvailabilityServicesFactory {
    /** Called by Flink, which finds the class by its name. */
    public MainspringHaServicesFactory() {}

    @Override
    public HighAvailabilityServices createHAServices(Configuration configuration, Executor executor) {
        String scheme = SecurityOptions.isInternalSSLEnabled(configuration) ? "pekko.ssl.tcp" : "pekko.tcp";
        // With high availability on, Flink listens on this port instead of jobmanager.rpc.port, and
        // its endpoints have random suffixes.
        String rpc =
                scheme + "://flink@" + configuration.get(JobManagerOptions.ADDRESS) + ":"
                        + configuration.get(HighAvailabilityOptions.HA_JOB_MANAGER_PORT_RANGE) + "/user/rpc/";
        String rest = "http://" + configuration.get(RestOptions.ADDRESS) + ":" + configuration.get(RestOptions.PORT);
        return new MainspringHaServices(rpc + "resourcemanager_*", rpc + "dispatcher_*", rest);
    }
}
