package io.mainspring.flink;

import io.mainspring.flink.JsonHttp.Answer;
import java.util.UUID;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.RestOptions;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ObjectNode;
import org.apache.flink.util.FlinkException;

/**
 * The front, which Flink's REST client takes for the JobManager. Its address is in Flink's own
 * settings.
 */
final class Front {
    /** Flink's own variable; Flink's REST client sends these headers with every request. */
    private static final String HEADERS_VARIABLE = "FLINK_REST_CLIENT_HEADERS";

    private final JsonHttp http;

    private Front(JsonHttp http) {
        this.http = http;
    }

    static Front of(Configuration configuration) {
        String base = "http://" + configuration.get(RestOptions.ADDRESS) + ":" + configuration.get(RestOptions.PORT);
        return new Front(new JsonHttp(base, Front::authorization));
    }

    /**
     * Asks for the id of the job that this call of execute() stands for. A repeat after a lost
     * answer gets the same id.
     */
    String reserve(String name, String plan, boolean prints) throws FlinkException, InterruptedException {
        ObjectNode body =
                JsonHttp.JSON.createObjectNode()
                        .put("call_id", UUID.randomUUID().toString())
                        .put("name", name)
                        .put("plan", plan)
                        .put("prints", prints);
        Answer answer;
        try {
            answer = http.call("POST", "/mainspring/v1/jobs", body, null);
        } catch (JsonHttp.NobodyAnswered e) {
            throw new IllegalStateException("a call without a bound gave up", e);
        }
        if (answer.status() != 200) {
            throw new FlinkException("job \"" + name + "\" was refused: " + answer.message());
        }
        return answer.body().path("job_id").asText();
    }

    private static String authorization() {
        String headers = System.getenv().getOrDefault(HEADERS_VARIABLE, "");
        for (String header : headers.split("\n")) {
            int colon = header.indexOf(':');
            if (colon > 0 && header.substring(0, colon).strip().equalsIgnoreCase("authorization")) {
                return header.substring(colon + 1).strip();
            }
        }
        throw new IllegalStateException(HEADERS_VARIABLE + " holds no Authorization header: mainspring-flink sets it");
    }
}
