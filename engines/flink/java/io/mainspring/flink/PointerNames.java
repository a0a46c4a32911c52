package io.mainspring.flink;

import org.apache.flink.runtime.checkpoint.CheckpointStoreUtil;

/** The names of pointers. Flink sorts them as text to find the latest, hence the zeros. */
enum PointerNames implements CheckpointStoreUtil {
    INSTANCE;

    @Override
    public String checkpointIDToName(long id) {
        return String.format("%019d", id);
    }

    @Override
    public long nameToCheckpointID(String name) {
        return Long.parseLong(name);
    }
}
