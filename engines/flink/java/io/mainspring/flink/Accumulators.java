package io.mainspring.flink;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InvalidClassException;
import java.io.ObjectInputFilter;
import java.io.ObjectInputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Collection;
import java.util.Map;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ArrayNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.JsonNodeFactory;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ObjectNode;
import org.apache.flink.util.OptionalFailure;

/**
 * Prints what a job's execute() returned, for people: reads the answer that Flink's client was
 * given from stdin and prints its accumulators as a table, CSV or JSON, as the one argument says.
 */
final class Accumulators {
    /**
     * The classes of values that are read: the JDK's and Flink's own. A program's classes are not
     * on the class path here, and no other object is made from bytes.
     */
    private static final ObjectInputFilter KNOWN =
            ObjectInputFilter.Config.createFilter("maxdepth=64;java.lang.**;java.util.**;java.math.**;java.time.**;org.apache.flink.**;!*");

    private static final JsonNodeFactory JSON = JsonNodeFactory.instance;

    private Accumulators() {}

    public static void main(String[] args) throws IOException {
        JsonNode answer = new ObjectMapper().readTree(System.in).path("job-execution-result");
        ObjectNode values = JSON.objectNode();
        for (Map.Entry<String, JsonNode> named : answer.path("accumulator-results").properties()) {
            // How far collect() has come is no value that a program has chosen to return
            // (answer.rs).
            if (!named.getKey().startsWith("dataStreamCollect_") && !named.getKey().startsWith("*anonymous_collect$")) {
                values.set(named.getKey(), value(named.getValue().binaryValue()));
            }
        }
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        switch (args[0]) {
            case "json" -> out.println(whole(answer, values));
            case "csv" -> csv(values, out);
            default -> table(values, out);
        }
        out.flush();
    }

    private static ObjectNode whole(JsonNode answer, ObjectNode values) {
        ObjectNode all = JSON.objectNode();
        all.set("jobId", answer.path("id"));
        all.set("status", answer.path("application-status"));
        all.set("netRuntimeMs", answer.path("net-runtime"));
        all.set("accumulators", values);
        return all;
    }

    private static void csv(ObjectNode values, PrintStream out) {
        out.println("name,value");
        values.properties().forEach(each -> out.println(quoted(each.getKey()) + "," + quoted(text(each.getValue()))));
    }

    private static void table(ObjectNode values, PrintStream out) {
        int width = "ACCUMULATOR".length();
        for (Map.Entry<String, JsonNode> each : values.properties()) {
            width = Math.max(width, each.getKey().length());
        }
        String line = "%-" + width + "s  %s%n";
        out.printf(line, "ACCUMULATOR", "VALUE");
        values.properties().forEach(each -> out.printf(line, each.getKey(), text(each.getValue())));
    }

    private static String text(JsonNode value) {
        return value.isTextual() ? value.textValue() : value.toString();
    }

    private static String quoted(String cell) {
        boolean plain = cell.chars().noneMatch(c -> c == ',' || c == '"' || c == '\n' || c == '\r');
        return plain ? cell : '"' + cell.replace("\"", "\"\"") + '"';
    }

    private static JsonNode value(byte[] serialized) {
        try (ObjectInputStream in = new ObjectInputStream(new ByteArrayInputStream(serialized))) {
            in.setObjectInputFilter(KNOWN);
            Object read = in.readObject();
            if (read instanceof OptionalFailure<?> either) {
                return either.isFailure() ? said("failure", String.valueOf(either.getFailureCause())) : json(either.getUnchecked());
            }
            return json(read);
        } catch (ClassNotFoundException | InvalidClassException e) {
            return said("unreadable", "its class is the program's own: " + e.getMessage());
        } catch (IOException | RuntimeException e) {
            return said("unreadable", e.toString());
        }
    }

    private static JsonNode said(String what, String text) {
        return JSON.objectNode().put(what, text);
    }

    private static JsonNode json(Object value) {
        if (value == null) {
            return JSON.nullNode();
        }
        if (value instanceof Boolean is) {
            return JSON.booleanNode(is);
        }
        if (value instanceof Double number) {
            return JSON.numberNode(number);
        }
        if (value instanceof Float number) {
            return JSON.numberNode(number);
        }
        if (value instanceof Number number) {
            return JSON.numberNode(new java.math.BigDecimal(number.toString()));
        }
        if (value instanceof Collection<?> all) {
            ArrayNode array = JSON.arrayNode();
            all.forEach(each -> array.add(json(each)));
            return array;
        }
        if (value instanceof Map<?, ?> map) {
            ObjectNode object = JSON.objectNode();
            map.forEach((key, each) -> object.set(String.valueOf(key), json(each)));
            return object;
        }
        return JSON.textNode(value instanceof byte[] bytes ? bytes.length + " bytes" : value.toString());
    }
}
