import java.io.IOException;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.serialization.SimpleStringEncoder;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.connector.file.sink.FileSink;
import org.apache.flink.core.fs.Path;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.functions.sink.filesystem.rollingpolicies.OnCheckpointRollingPolicy;
import org.apache.flink.util.Collector;

/**
 * {@code ExactlyOnce NUMBERS DIRECTORY [MILLIS_PER_NUMBER]}: counts 0..NUMBERS by key with state,
 * and writes {@code number,key,count} to files that are committed by checkpoints. The committed
 * files must hold each number once, and each key's counts 1, 2, 3, … once, regardless of what dies
 * on the way.
 */
public final class ExactlyOnce {
    private static final long KEYS = 50;
    private static final long CHECKPOINT_EVERY_MILLIS = 200;

    private ExactlyOnce() {}

    public static void main(String[] args) throws Exception {
        long numbers = Long.parseLong(args[0]);
        long pause = args.length > 2 ? Long.parseLong(args[2]) : 1;
        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
        env.setParallelism(2);
        env.enableCheckpointing(CHECKPOINT_EVERY_MILLIS);
        env.fromSequence(0, numbers - 1)
                .map(number -> {
                    Thread.sleep(pause);
                    return number;
                })
                .returns(Long.class)
                .keyBy(number -> number % KEYS)
                .process(new Counting())
                .sinkTo(FileSink.forRowFormat(new Path(args[1]), new SimpleStringEncoder<String>())
                        .withRollingPolicy(OnCheckpointRollingPolicy.build())
                        .build());
        env.execute("exactly once");
        System.out.println("all " + numbers + " counted");
    }

    private static final class Counting extends KeyedProcessFunction<Long, Long, String> {
        private static final long serialVersionUID = 1L;
        private transient ValueState<Long> seen;

        @Override
        public void open(OpenContext context) {
            seen = getRuntimeContext().getState(new ValueStateDescriptor<>("seen", Long.class));
        }

        @Override
        public void processElement(Long number, Context context, Collector<String> out) throws IOException {
            Long before = seen.value();
            long count = before == null ? 1 : before + 1;
            seen.update(count);
            out.collect(number + "," + context.getCurrentKey() + "," + count);
        }
    }
}
