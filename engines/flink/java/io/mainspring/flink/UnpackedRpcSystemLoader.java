package io.mainspring.flink;

import java.util.ServiceLoader;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.runtime.rpc.RpcSystem;
import org.apache.flink.runtime.rpc.RpcSystemLoader;
import org.apache.flink.runtime.rpc.exceptions.RpcLoaderException;

/**
 * Loads Flink's RPC system from the class path, where the archive of a JVM's classes includes it.
 * Flink's own loader unpacks 24 MB of jar into a temporary file at each start and loads from there;
 * Flink asks that loader next if this one finds nothing.
 */
public final class UnpackedRpcSystemLoader implements RpcSystemLoader {
    private static final int BEFORE_FLINKS_OWN = -1;

    /** Called by the service loader. */
    public UnpackedRpcSystemLoader() {}

    @Override
    public int getLoadPriority() {
        return BEFORE_FLINKS_OWN;
    }

    @Override
    public RpcSystem loadRpcSystem(Configuration configuration) {
        return ServiceLoader.load(RpcSystem.class, UnpackedRpcSystemLoader.class.getClassLoader())
                .findFirst()
                .orElseThrow(() -> new RpcLoaderException("there is no RPC system on the class path"));
    }
}
