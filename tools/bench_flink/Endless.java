import java.io.IOException;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.util.Collector;

/** Counts numbers by key with state, as fast as they come, with a checkpoint every two seconds, for ever. */
public final class Endless {
    private static final long KEYS = 10_000;

    private Endless() {}

    public static void main(String[] args) throws Exception {
        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
        env.enableCheckpointing(2000);
        env.fromSequence(0, Long.MAX_VALUE - 1)
                .keyBy(number -> number % KEYS)
                .process(new Counting())
                .sinkTo(new DiscardingSink<>());
        env.execute("endless");
    }

    private static final class Counting extends KeyedProcessFunction<Long, Long, Long> {
        private static final long serialVersionUID = 1L;
        private transient ValueState<Long> seen;

        @Override
        public void open(OpenContext context) {
            seen = getRuntimeContext().getState(new ValueStateDescriptor<>("seen", Long.class));
        }

        @Override
        public void processElement(Long number, Context context, Collector<Long> out) throws IOException {
            Long before = seen.value();
            long count = before == null ? 1 : before + 1;
            seen.update(count);
            out.collect(count);
        }
    }
}
