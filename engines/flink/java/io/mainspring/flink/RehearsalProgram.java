package io.mainspring.flink;

import java.time.Duration;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.FlatMapFunction;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.util.CloseableIterator;

/**
 * Does once what most programs do: keyed state, checkpoints, tuples, windows, something printed, a
 * result that main() reads.
 */
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
        FlatMapFunction<String, Tuple2<String, Integer>> words =
                (line, out) -> {
                    for (String word : line.split(" ")) {
                        out.collect(Tuple2.of(word, 1));
                    }
                };
        var timed = WatermarkStrategy.<Tuple2<String, Integer>>forMonotonousTimestamps().withTimestampAssigner((word, before) -> word.f1);
        var counted =
                env.fromData("to be or not to be", "that is the question")
                        .flatMap(words)
                        .returns(Types.TUPLE(Types.STRING, Types.INT))
                        .assignTimestampsAndWatermarks(timed);
        counted.keyBy(word -> word.f0).sum(1).print();
        counted.keyBy(word -> word.f0).window(TumblingEventTimeWindows.of(Duration.ofSeconds(1))).sum(1).print();
        env.execute("rehearsal of words");
    }
}
