import java.util.ArrayList;
import java.util.List;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;

/**
 * Programs that go wrong, one kind for each first argument; {@code forever} runs until it is ended
 * from outside.
 */
public final class Misbehaving {
    private Misbehaving() {}

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "no-job" -> System.out.println("nothing to do");
            case "throws" -> throwing();
            case "divides" -> run(number -> 1 / (number - 2), 0);
            case "memory" -> run(Misbehaving::takeAll, 0);
            case "checkpoints" -> run(number -> number, 200);
            case "forever" -> forever();
            case "exits" -> System.exit(7);
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    private static void throwing() {
        throw new IllegalStateException("the table \"orders\" is not there", new java.io.IOException("no such file: orders.csv"));
    }

    private static void run(org.apache.flink.api.common.functions.MapFunction<Long, Long> map, long checkpointEveryMillis) throws Exception {
        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
        if (checkpointEveryMillis > 0) {
            env.enableCheckpointing(checkpointEveryMillis);
        }
        env.fromSequence(1, 3).map(map).returns(Long.class).sinkTo(new DiscardingSink<>());
        env.execute("misbehaves");
    }

    private static Long takeAll(Long number) {
        List<long[]> taken = new ArrayList<>();
        while (true) {
            taken.add(new long[1 << 20]);
        }
    }

    private static void forever() throws Exception {
        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
        env.enableCheckpointing(200);
        env.fromSequence(1, Long.MAX_VALUE)
                .map(number -> {
                    Thread.sleep(1);
                    return number;
                })
                .returns(Long.class)
                .sinkTo(new DiscardingSink<>());
        env.execute("forever");
        System.out.println("never said");
    }
}
