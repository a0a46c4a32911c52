package io.mainspring.flink;

import java.util.Set;
import org.apache.flink.streaming.api.functions.sink.PrintSink;
import org.apache.flink.streaming.api.graph.StreamGraph;
import org.apache.flink.streaming.api.graph.StreamNode;
import org.apache.flink.streaming.api.operators.StreamOperatorFactory;
import org.apache.flink.streaming.api.operators.UdfStreamOperatorFactory;
import org.apache.flink.streaming.runtime.operators.sink.SinkWriterOperatorFactory;

/**
 * Whether a job prints. What a job prints appears where its sinks run, in a TaskManager, and
 * main()'s terminal stays empty. The class of a sink tells whether it prints; its name does not,
 * because a program or a CREATE TABLE chooses the name.
 */
final class Printing {
    /**
     * The printing sinks that are functions, by name: {@code print()}'s is deprecated, and that of
     * {@code WITH ('connector' = 'print')} is private to the table API.
     */
    private static final Set<String> FUNCTIONS = Set.of(
            "org.apache.flink.streaming.api.functions.sink.legacy.PrintSinkFunction",
            "org.apache.flink.connector.print.table.PrintTableSinkFactory$RowDataPrintFunction");

    private Printing() {}

    static boolean isIn(StreamGraph graph) {
        return graph.getStreamNodes().stream().map(StreamNode::getOperatorFactory).anyMatch(Printing::prints);
    }

    private static boolean prints(StreamOperatorFactory<?> factory) {
        if (factory instanceof UdfStreamOperatorFactory<?> function) {
            return FUNCTIONS.contains(function.getUserFunctionClassName());
        }
        return factory instanceof SinkWriterOperatorFactory<?, ?> writer && writer.getSink() instanceof PrintSink;
    }
}
