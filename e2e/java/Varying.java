import java.time.Instant;
import java.util.UUID;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;

/**
 * Programs whose jobs differ each time, are wider than their cluster, or do not exist at all, one
 * kind for each first argument.
 */
public final class Varying {
    private Varying() {}

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "names" -> {
                // The first job's end is recorded, the second's is not, because the second job
                // takes some fifteen seconds.
                print("first\n  of " + Instant.now(), 1, 3, 0);
                print("second " + UUID.randomUUID(), 1, 1500, 10);
            }
            case "wide" -> print("wide", 6, 100, 0);
            case "settings" -> settings();
            case "column" -> column();
            case "table" -> table();
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    private static void print(String name, int parallelism, long count, long millisEach) throws Exception {
        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
        env.fromSequence(1, count)
                .map(number -> {
                    Thread.sleep(millisEach);
                    return number;
                })
                .returns(Long.class)
                .setParallelism(parallelism)
                .print();
        env.execute(name);
    }

    private static void column() {
        TableEnvironment tables = TableEnvironment.create(EnvironmentSettings.inBatchMode());
        tables.executeSql("CREATE TABLE numbers (i INT) WITH ('connector' = 'datagen', 'number-of-rows' = '5')");
        tables.executeSql("SELECT nowhere FROM numbers").print();
    }

    private static void table() throws Exception {
        TableEnvironment tables = TableEnvironment.create(EnvironmentSettings.inStreamingMode());
        tables.executeSql("CREATE TABLE numbers (i INT) WITH ('connector' = 'datagen', 'number-of-rows' = '5')");
        tables.executeSql("CREATE TABLE seen (i INT) WITH ('connector' = 'print')");
        tables.executeSql("INSERT INTO seen SELECT i FROM numbers").await();
    }

    private static void settings() throws Exception {
        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
        String own = env.getConfiguration().get(ConfigOptions.key("my.own").stringType().defaultValue("not there"));
        System.out.println("my.own is " + own);
        print("settings", 1, 3, 0);
    }
}
