import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import org.apache.flink.api.common.JobExecutionResult;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;

/** What programs do in main(), one kind for each first argument. */
public final class Programs {
    private Programs() {}

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "collect" -> collect();
            case "same-name" -> sameName();
            case "at-once" -> atOnce();
            case "result" -> System.out.println("net runtime " + (run("one").getNetRuntime() >= 0));
            case "throws" -> throwing(3);
            case "job-fails" -> jobFails();
            case "no-job" -> System.out.println("nothing to do");
            case "stream" -> stream(args.length > 1 ? args[1] : "stream");
            case "exit" -> System.exit(7);
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    private static DataStream<Long> numbers(StreamExecutionEnvironment env) {
        return env.fromSequence(1, 100).map(n -> n * 2).returns(Long.class);
    }

    private static void collect() throws Exception {
        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
        long sum = 0;
        try (var rows = numbers(env).executeAndCollect("collected")) {
            for (Iterator<Long> each = rows; each.hasNext(); ) {
                sum += each.next();
            }
        }
        System.out.println("sum " + sum);
    }

    private static JobExecutionResult run(String name) throws Exception {
        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
        numbers(env).print();
        return env.execute(name);
    }

    private static void sameName() throws Exception {
        System.out.println("same id " + run("twin").getJobID().equals(run("twin").getJobID()));
    }

    private static void atOnce() throws Exception {
        List<JobClient> clients = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
            numbers(env).print();
            clients.add(env.executeAsync("at once " + i));
        }
        for (JobClient client : clients) {
            System.out.println("done " + client.getJobExecutionResult().get().getJobID());
        }
    }

    private static void throwing(int depth) {
        if (depth == 0) {
            throw new IllegalStateException("the table \"orders\" is not there", new java.io.IOException("no such file: orders.csv"));
        }
        throwing(depth - 1);
    }

    private static void jobFails() throws Exception {
        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
        env.fromSequence(1, 3).map(n -> 1 / (n - 2)).returns(Long.class).print();
        env.execute("divides by zero");
    }

    private static void stream(String name) throws Exception {
        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
        env.enableCheckpointing(500);
        env.fromSequence(1, Long.MAX_VALUE)
                .map(n -> {
                    Thread.sleep(1);
                    return n;
                })
                .returns(Long.class)
                .keyBy(n -> n % 10)
                .reduce(Long::sum)
                .sinkTo(new org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink<>());
        env.execute(name);
    }
}
