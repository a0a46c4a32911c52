import java.util.Iterator;
import org.apache.flink.api.common.accumulators.Histogram;
import org.apache.flink.api.common.accumulators.LongCounter;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.functions.RichMapFunction;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;

/** Programs whose jobs bring something back to main(): accumulators, or rows. */
public final class Counting extends RichMapFunction<Long, Long> {
    private static final long serialVersionUID = 1L;

    private final LongCounter sum = new LongCounter();
    private final Histogram ends = new Histogram();

    public static void main(String[] args) throws Exception {
        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
        if (args[0].equals("table")) {
            try (var rows = StreamTableEnvironment.create(env).executeSql("SELECT 7 AS x").collect()) {
                rows.forEachRemaining(row -> System.out.println("row " + row.getField("x")));
            }
            return;
        }
        if (args[0].equals("rows")) {
            try (var rows = env.fromSequence(1, 3).executeAndCollect("rows")) {
                for (Iterator<Long> each = rows; each.hasNext(); ) {
                    System.out.println("row " + each.next());
                }
            }
            return;
        }
        env.fromSequence(1, 10).map(new Counting()).sinkTo(new DiscardingSink<>());
        System.out.println("main() has " + env.execute("counts").getAccumulatorResult("sum"));
    }

    @Override
    public void open(OpenContext context) {
        getRuntimeContext().addAccumulator("sum", sum);
        getRuntimeContext().addAccumulator("odd", ends);
    }

    @Override
    public Long map(Long number) {
        sum.add(number);
        ends.add((int) (number % 2));
        return number;
    }
}
