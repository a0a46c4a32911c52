import org.apache.flink.api.common.JobStatus;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.core.execution.SavepointFormatType;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;

/**
 * {@code Stopping DIRECTORY}: has a savepoint taken of its own endless job, stops the job with
 * another savepoint, and says where both are.
 */
public final class Stopping {
    private Stopping() {}

    public static void main(String[] args) throws Exception {
        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
        env.enableCheckpointing(200);
        env.fromSequence(1, Long.MAX_VALUE)
                .map(number -> {
                    Thread.sleep(1);
                    return number;
                })
                .returns(Long.class)
                .uid("slowly")
                .sinkTo(new DiscardingSink<>());
        JobClient job = env.executeAsync("endless");
        while (job.getJobStatus().get() != JobStatus.RUNNING) {
            Thread.sleep(50);
        }
        System.out.println("taken " + job.triggerSavepoint(args[0], SavepointFormatType.CANONICAL).get());
        System.out.println("stopped " + job.stopWithSavepoint(false, args[0], SavepointFormatType.NATIVE).get());
        job.getJobExecutionResult().get();
    }
}
