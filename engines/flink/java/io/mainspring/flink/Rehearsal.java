package io.mainspring.flink;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.apache.flink.api.common.JobID;

/**
 * Runs one small program on a JobManager and a TaskManager of its own, so that each JVM leaves the
 * archive of the classes that it used (the JVM's flags say where). The rehearsal stands in for
 * `jobs`, which also asks the JobManager how its jobs do, and for the front, because neither can be
 * there while set-up runs. It keeps nothing of what it is told.
 *
 * <p>Arguments: a directory to work in, then the three command lines (JobManager, TaskManager,
 * main()), each ended by `;`.
 */
public final class Rehearsal {
    private static final long PROGRAM_SECONDS = 240;
    private static final long STOP_SECONDS = 120;
    private static final long CONNECT_PAUSE_MS = 100;
    private static final long ASK_EVERY_MS = 100;
    private static final Duration ANSWER_WITHIN = Duration.ofSeconds(5);

    /** What `jobs` asks a JobManager, its own or that of a session cluster; `%s` is the job. */
    private static final List<String> QUESTIONS =
            List.of(
                    "/overview",
                    "/jobs/overview",
                    "/jobs/%s",
                    "/jobs/%s/metrics?get=numRestarts",
                    "/jobs/%s/exceptions?maxExceptions=1",
                    "/jobs/%s/execution-result");

    private final Path work;
    private final int rpcPort = freePort();
    private final int restPort = freePort();
    private final List<Process> started = Collections.synchronizedList(new ArrayList<>());
    private volatile JobID job;
    private final HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    private Rehearsal(Path work) throws IOException {
        this.work = work;
    }

    /** Exits 0 if all three JVMs did their part. */
    public static void main(String[] args) throws Exception {
        Rehearsal rehearsal = new Rehearsal(Path.of(args[0]));
        // If set-up is killed, the rehearsal ends, and its JVMs with it.
        ProcessHandle.current().parent().ifPresent(parent -> parent.onExit().thenRun(() -> System.exit(1)));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> rehearsal.started.forEach(Process::destroyForcibly)));
        List<List<String>> commands = commands(Arrays.asList(args).subList(1, args.length));
        System.exit(rehearsal.run(commands) ? 0 : 1);
    }

    private static List<List<String>> commands(List<String> arguments) {
        List<List<String>> commands = new ArrayList<>(List.of(new ArrayList<>()));
        for (String argument : arguments) {
            if (argument.equals(";")) {
                commands.add(new ArrayList<>());
            } else {
                commands.get(commands.size() - 1).add(argument);
            }
        }
        return commands;
    }

    private boolean run(List<List<String>> commands) throws IOException, InterruptedException {
        int jobs = serve(this::answerAsJobs);
        int front = serve(this::answerAsFront);
        Files.writeString(work.resolve("config.yaml"), configuration());
        Files.writeString(work.resolve("token"), "rehearsal");
        List<String> cluster = List.of("--configDir", work.toString());
        Process jobManager = start("jobmanager", commands.get(0), cluster, jobs);
        Process taskManager = start("taskmanager", commands.get(1), cluster, jobs);
        // The program is in mainspring's jar, and would otherwise be loaded with a second copy of
        // mainspring's classes.
        List<String> program =
                List.of(
                        "-Drest.address=127.0.0.1",
                        "-Drest.port=" + front,
                        "-Dclassloader.parent-first-patterns.additional=io.mainspring.flink.");
        Process main = start("main", commands.get(2), program, jobs);
        boolean done = askUntilEnded(main) && main.exitValue() == 0;
        for (Process process : List.of(taskManager, jobManager)) {
            process.destroy();
            done &= process.waitFor(STOP_SECONDS, TimeUnit.SECONDS);
        }
        return done;
    }

    private boolean askUntilEnded(Process main) throws InterruptedException {
        long until = System.nanoTime() + TimeUnit.SECONDS.toNanos(PROGRAM_SECONDS);
        while (!main.waitFor(ASK_EVERY_MS, TimeUnit.MILLISECONDS)) {
            if (System.nanoTime() > until) {
                return false;
            }
            ask();
        }
        return true;
    }

    /**
     * Asks all questions, and ignores the answers and their absence, because the next round asks
     * again.
     */
    private void ask() throws InterruptedException {
        JobID asked = job;
        for (String question : asked == null ? List.<String>of() : QUESTIONS) {
            try {
                URI uri = jobManager(String.format(question, asked));
                client.send(HttpRequest.newBuilder(uri).timeout(ANSWER_WITHIN).build(), BodyHandlers.discarding());
            } catch (IOException e) {
                return;
            }
        }
    }

    private Process start(String role, List<String> command, List<String> more, int jobs) throws IOException {
        List<String> all = new ArrayList<>(command);
        // The options of Main that stand in the command line end where the program's begin; Flink's
        // entrypoints take further ones last.
        all.addAll(role.equals("main") ? all.indexOf("--jar") : all.size(), more);
        ProcessBuilder builder =
                new ProcessBuilder(all).redirectErrorStream(true).redirectOutput(work.resolve(role + ".log").toFile());
        builder.environment().put("MAINSPRING_ADDRESS_JOBS_HA", "127.0.0.1:" + jobs);
        builder.environment().put("MAINSPRING_TOKEN_FILE", work.resolve("token").toString());
        builder.environment().put("FLINK_REST_CLIENT_HEADERS", "Authorization:Bearer rehearsal");
        Process process = builder.start();
        started.add(process);
        return process;
    }

    private String configuration() {
        return String.join(
                "\n",
                "jobmanager.rpc.address: 127.0.0.1",
                "jobmanager.rpc.port: " + rpcPort,
                "jobmanager.bind-host: 127.0.0.1",
                "high-availability.type: " + MainspringHaServicesFactory.class.getName(),
                "high-availability.jobmanager.port: " + rpcPort,
                "high-availability.storageDir: " + work.resolve("ha").toUri(),
                "rest.address: 127.0.0.1",
                "rest.port: " + restPort,
                "rest.bind-address: 127.0.0.1",
                "rest.bind-port: " + restPort,
                "io.tmp.dirs: " + work.resolve("tmp"),
                "execution.checkpointing.dir: " + work.resolve("checkpoints").toUri(),
                "taskmanager.host: 127.0.0.1",
                "taskmanager.bind-host: 127.0.0.1",
                "taskmanager.cpu.cores: 1.0",
                "taskmanager.memory.framework.heap.size: 128m",
                "taskmanager.memory.framework.off-heap.size: 128m",
                "taskmanager.memory.task.heap.size: 128m",
                "taskmanager.memory.task.off-heap.size: 0b",
                "taskmanager.memory.network.min: 64m",
                "taskmanager.memory.network.max: 64m",
                "taskmanager.memory.managed.size: 64m",
                "taskmanager.memory.jvm-metaspace.size: 256m",
                "taskmanager.memory.jvm-overhead.min: 192m",
                "taskmanager.memory.jvm-overhead.max: 192m",
                "cluster.registration.initial-timeout: 100",
                "cluster.registration.error-delay: 100",
                "");
    }

    private interface Handler {
        void handle(HttpExchange exchange) throws IOException, InterruptedException;
    }

    private static int serve(Handler handler) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        server.setExecutor(Executors.newCachedThreadPool());
        server.createContext(
                "/",
                exchange -> {
                    try (exchange) {
                        handler.handle(exchange);
                    } catch (InterruptedException e) {
                        Thread.currentThread().interrupt();
                    }
                });
        server.start();
        return server.getAddress().getPort();
    }

    /**
     * Answers as `jobs` would for a new job. Nothing is kept, because a job of the rehearsal runs
     * once.
     */
    private void answerAsJobs(HttpExchange exchange) throws IOException {
        exchange.getRequestBody().readAllBytes();
        boolean asks = exchange.getRequestMethod().equals("GET");
        String nothing = "{\"ended\":false,\"checkpoints\":[],\"next_checkpoint_id\":1}";
        answer(exchange, 200, (asks ? nothing : "{}").getBytes(StandardCharsets.UTF_8));
    }

    private void answerAsFront(HttpExchange exchange) throws IOException, InterruptedException {
        byte[] body = exchange.getRequestBody().readAllBytes();
        if (exchange.getRequestURI().getPath().startsWith("/mainspring/")) {
            job = JobID.generate();
            String id = "{\"job_id\":\"" + job + "\"}";
            answer(exchange, 200, id.getBytes(StandardCharsets.UTF_8));
            return;
        }
        HttpRequest.Builder request =
                HttpRequest.newBuilder(jobManager(exchange.getRequestURI().toString()))
                        .method(exchange.getRequestMethod(), BodyPublishers.ofByteArray(body));
        String type = exchange.getRequestHeaders().getFirst("content-type");
        if (type != null) {
            request.header("content-type", type);
        }
        HttpResponse<byte[]> response = untilConnected(request.build());
        answer(exchange, response.statusCode(), response.body());
    }

    private URI jobManager(String path) {
        return URI.create("http://127.0.0.1:" + restPort + path);
    }

    /** Waits for the JobManager, which may still be starting when main() calls it. */
    private HttpResponse<byte[]> untilConnected(HttpRequest request) throws IOException, InterruptedException {
        while (true) {
            try {
                return client.send(request, BodyHandlers.ofByteArray());
            } catch (ConnectException e) {
                Thread.sleep(CONNECT_PAUSE_MS);
            }
        }
    }

    private static void answer(HttpExchange exchange, int status, byte[] body) throws IOException {
        exchange.getResponseHeaders().set("content-type", "application/json");
        exchange.sendResponseHeaders(status, body.length);
        exchange.getResponseBody().write(body);
    }

    private static int freePort() throws IOException {
        try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return socket.getLocalPort();
        }
    }
}
