package io.mainspring.flink;

import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Supplier;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ObjectNode;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * JSON over HTTP/1.1 to a process of mainspring on this machine. Every call is idempotent, and a
 * call that finds no process there is repeated, so that neither Flink nor a program hears of a
 * process that is being replaced.
 *
 * <p>The calls are made by the JDK's old client: the newer one costs a tenth of a second of a JVM's
 * start, and its selector holds up the JVM's end.
 */
final class JsonHttp {
    static final ObjectMapper JSON = new ObjectMapper();

    private static final Logger LOG = LoggerFactory.getLogger(JsonHttp.class);
    private static final int CONNECT_MS = 5_000;
    private static final int ONE_TRY_MS = 40_000;
    private static final long FIRST_PAUSE_MS = 50;
    private static final long LAST_PAUSE_MS = 1000;

    /** An answer: a status below 500, and its JSON. */
    record Answer(int status, JsonNode body) {
        String message() {
            return body.path("message").asText("status " + status);
        }

        String reason() {
            return body.path("reason").asText("");
        }
    }

    private final String base;
    private final Supplier<String> authorization;

    /** `authorization` is asked for each try, because tokens are renewed in place. */
    JsonHttp(String base, Supplier<String> authorization) {
        this.base = base;
        this.authorization = authorization;
    }

    /**
     * Repeats the call until it is answered, or until `patience` is over; null is without a bound.
     */
    Answer call(String method, String path, ObjectNode body, Duration patience)
            throws NobodyAnswered, InterruptedException {
        long started = System.nanoTime();
        long pause = FIRST_PAUSE_MS;
        for (int tries = 1; ; tries++) {
            String why;
            try {
                Answer answer = send(method, path, body);
                if (answer.status() < 500) {
                    if (tries > 1) {
                        LOG.info("{} {} was answered at try {}", method, path, tries);
                    }
                    return answer;
                }
                why = answer.message();
            } catch (IOException e) {
                why = e.toString();
            }
            if (patience != null && System.nanoTime() - started > patience.toNanos()) {
                throw new NobodyAnswered(method + " " + base + path + " was not answered for " + patience + ": " + why);
            }
            if (tries == 1) {
                LOG.warn("{} {} will be repeated: {}", method, path, why);
            }
            Thread.sleep(ThreadLocalRandom.current().nextLong(pause / 2, pause + 1));
            pause = Math.min(2 * pause, LAST_PAUSE_MS);
        }
    }

    private Answer send(String method, String path, ObjectNode body) throws IOException {
        HttpURLConnection connection = (HttpURLConnection) URI.create(base + path).toURL().openConnection();
        connection.setConnectTimeout(CONNECT_MS);
        connection.setReadTimeout(ONE_TRY_MS);
        connection.setRequestMethod(method);
        connection.setRequestProperty("authorization", authorization.get());
        connection.setRequestProperty("content-type", "application/json");
        if (body != null) {
            byte[] bytes = body.toString().getBytes(StandardCharsets.UTF_8);
            connection.setDoOutput(true);
            connection.setFixedLengthStreamingMode(bytes.length);
            connection.getOutputStream().write(bytes);
        }
        int status = connection.getResponseCode();
        try (InputStream content = status < 400 ? connection.getInputStream() : connection.getErrorStream()) {
            return new Answer(status, parse(content == null ? new byte[0] : content.readAllBytes()));
        }
    }

    private static JsonNode parse(byte[] body) throws IOException {
        return body.length == 0 ? JSON.createObjectNode() : JSON.readTree(body);
    }

    /** The patience is over; whether the call was carried out is not known. */
    static final class NobodyAnswered extends IOException {
        private static final long serialVersionUID = 1L;

        NobodyAnswered(String message) {
            super(message);
        }
    }
}
