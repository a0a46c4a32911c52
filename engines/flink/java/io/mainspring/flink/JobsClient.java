package io.mainspring.flink;

import io.mainspring.flink.JsonHttp.Answer;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import org.apache.flink.api.common.JobID;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ObjectNode;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What the JobManager asks and tells `jobs`, the process that keeps the JobManager's pointers,
 * counters and ends in the record.
 */
final class JobsClient {
    private static final Logger LOG = LoggerFactory.getLogger(JobsClient.class);
    private static final int EXIT_SUPERSEDED = 23;

    private final JsonHttp http;

    private JobsClient(JsonHttp http) {
        this.http = http;
    }

    static JobsClient fromEnvironment() {
        String base = "http://" + environment("MAINSPRING_ADDRESS_JOBS_HA");
        Path token = Path.of(environment("MAINSPRING_TOKEN_FILE"));
        return new JobsClient(new JsonHttp(base, () -> "Bearer " + read(token)));
    }

    JsonNode job(JobID job, Duration patience) throws IOException {
        return call("GET", "/v1/jobs/" + job, null, patience);
    }

    void putCheckpoint(JobID job, long id, ObjectNode checkpoint, Duration patience) throws IOException {
        call("PUT", "/v1/jobs/" + job + "/checkpoints/" + id, checkpoint, patience);
    }

    void deleteCheckpoint(JobID job, long id, Duration patience) throws IOException {
        call("DELETE", "/v1/jobs/" + job + "/checkpoints/" + id, null, patience);
    }

    void putNextCheckpointId(JobID job, long next, Duration patience) throws IOException {
        ObjectNode body = JsonHttp.JSON.createObjectNode().put("next", next);
        call("PUT", "/v1/jobs/" + job + "/next-checkpoint-id", body, patience);
    }

    /**
     * Waits for as long as it takes, because a job whose end is not recorded would be run again.
     */
    void putEnd(JobID job, ObjectNode end) throws IOException {
        call("PUT", "/v1/jobs/" + job + "/end", end, null);
    }

    void putClean(JobID job, Duration patience) throws IOException {
        call("PUT", "/v1/jobs/" + job + "/clean", JsonHttp.JSON.createObjectNode(), patience);
    }

    private JsonNode call(String method, String path, ObjectNode body, Duration patience) throws IOException {
        Answer answer;
        try {
            answer = http.call(method, path, body, patience);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IOException(method + " " + path + " was interrupted", e);
        }
        if (answer.status() == 409) {
            superseded(answer);
        }
        if (answer.status() != 200) {
            throw new IllegalStateException(
                    method + " " + path + " was refused (" + answer.status() + "): " + answer.message());
        }
        return answer.body();
    }

    /**
     * Stops this JVM, because another incarnation owns the jobs or the record holds the job's end,
     * so that everything which the JVM did next could only do harm. Therefore no shutdown hook runs
     * either.
     */
    private static void superseded(Answer answer) {
        LOG.error("this cluster is superseded and stops at once: {} {}", answer.reason(), answer.message());
        Runtime.getRuntime().halt(EXIT_SUPERSEDED);
    }

    private static String environment(String name) {
        String value = System.getenv(name);
        if (value == null) {
            throw new IllegalStateException(name + " is not set: the launcher of mainspring-flink sets it");
        }
        return value;
    }

    private static String read(Path token) {
        try {
            return Files.readString(token).strip();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
