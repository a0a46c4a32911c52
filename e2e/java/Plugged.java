import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;

/**
 * Needs a plugin for {@code mirror://} in every JVM, and the files named in its arguments on
 * Flink's own class path, in main() and in its tasks.
 */
public final class Plugged {
    private Plugged() {}

    public static void main(String[] args) throws Exception {
        FileSystem.get(URI.create("mirror:///"));
        for (String name : args) {
            System.out.println("main() reads " + read(name));
        }
        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
        env.enableCheckpointing(200);
        env.fromSequence(1, 3)
                .map(number -> {
                    FileSystem.get(URI.create("mirror:///"));
                    for (String name : args) {
                        System.out.println("a task reads " + read(name));
                    }
                    return number;
                })
                .returns(Long.class)
                .sinkTo(new DiscardingSink<>());
        env.execute("plugged");
    }

    private static String read(String name) throws IOException {
        try (InputStream in = ClassLoader.getSystemResourceAsStream(name)) {
            if (in == null) {
                throw new IOException(name + " is on no class path");
            }
            return new String(in.readAllBytes(), StandardCharsets.UTF_8).trim();
        }
    }
}
