package io.mainspring.flink;

import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.util.CloseableIterator;

/** What most programs do, once: keyed state, checkpoints, a result that main() reads. */
public final class RehearsalProgram {
    private static final long RECORDS = 300_000;
    private static final long CHECKPOINT_INTERVAL_MS = 50;

    private RehearsalProgram() {}

    /** The main() of a program like any other. */
    public static void main(String[] args) throws Exception {
        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
        env.enableCheckpointing(CHECKPOINT_INTERVAL_MS);
        var sums = env.fromSequence(1, RECORDS).map(n -> n % 100).returns(Long.class).keyBy(n -> n % 10).reduce(Long::sum);
        try (CloseableIterator<Long> rows = sums.executeAndCollect("rehearsal")) {
            rows.forEachRemaining(row -> {});
        }
    }
}
