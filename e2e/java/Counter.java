import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.apache.flink.api.common.functions.MapFunction;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.runtime.state.FunctionInitializationContext;
import org.apache.flink.runtime.state.FunctionSnapshotContext;
import org.apache.flink.streaming.api.checkpoint.CheckpointedFunction;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;

/**
 * Counts for ever: DIRECTORY UID CHECKPOINT_EVERY_MS. Each start of its one task adds a line to
 * DIRECTORY/starts; DIRECTORY/break makes the task fail once.
 */
public final class Counter {
    public static void main(String[] args) throws Exception {
        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
        env.enableCheckpointing(Long.parseLong(args[2]));
        env.setParallelism(1);
        env.fromSequence(1, Long.MAX_VALUE).uid(args[1] + "-numbers")
                .map(new Counting(args[0])).uid(args[1]).sinkTo(new DiscardingSink<>()).uid(args[1] + "-sink");
        env.execute("count");
        System.out.println("main() goes on");
    }

    private static final class Counting implements MapFunction<Long, Long>, CheckpointedFunction {
        private static final long serialVersionUID = 1L;

        private final String directory;
        private transient ListState<Long> kept;
        private transient long count;

        Counting(String directory) {
            this.directory = directory;
        }

        @Override
        public void initializeState(FunctionInitializationContext context) throws Exception {
            kept = context.getOperatorStateStore().getListState(new ListStateDescriptor<>("count", Long.class));
            for (long each : kept.get()) {
                count += each;
            }
            String line = context.isRestored() + " " + count + "\n";
            Path starts = Path.of(directory, "starts");
            Files.write(starts, line.getBytes(StandardCharsets.UTF_8), StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        }

        @Override
        public void snapshotState(FunctionSnapshotContext context) throws Exception {
            kept.clear();
            kept.add(count);
        }

        @Override
        public Long map(Long number) throws Exception {
            Thread.sleep(1);
            if (++count % 50 == 0 && Files.deleteIfExists(Path.of(directory, "break"))) {
                throw new IllegalStateException("the lookup table is gone");
            }
            return number;
        }
    }
}
