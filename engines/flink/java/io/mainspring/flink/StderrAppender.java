package io.mainspring.flink;

import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.util.TimeZone;
import org.apache.logging.log4j.core.LogEvent;
import org.apache.logging.log4j.core.appender.AbstractAppender;
import org.apache.logging.log4j.core.config.Property;

/**
 * Writes lines such as {@code 14:02:17.310 INFO  o.a.f.r.d.StandaloneDispatcher Job was submitted},
 * each of them at once.
 */
final class StderrAppender extends AbstractAppender {
    private static final int LONGEST_LEVEL = 5;
    private static final int[] UNITS = {3_600_000, 60_000, 1_000};
    private static final long DAY_MS = 86_400_000;

    private final PrintStream stderr = System.err;
    private final TimeZone zone = TimeZone.getDefault();

    StderrAppender() {
        super("stderr", null, null, true, Property.EMPTY_ARRAY);
    }

    @Override
    public void append(LogEvent event) {
        StringBuilder line = new StringBuilder(200);
        addTime(line, event.getTimeMillis() + zone.getOffset(event.getTimeMillis()));
        String level = event.getLevel().name();
        line.append(' ').append(level);
        line.append(" ".repeat(1 + Math.max(0, LONGEST_LEVEL - level.length())));
        addShortened(line, event.getLoggerName());
        line.append(' ').append(event.getMessage().getFormattedMessage()).append('\n');
        if (event.getThrown() != null) {
            StringWriter stack = new StringWriter();
            event.getThrown().printStackTrace(new PrintWriter(stack, true));
            line.append(stack);
        }
        byte[] bytes = line.toString().getBytes(StandardCharsets.UTF_8);
        stderr.write(bytes, 0, bytes.length);
        stderr.flush();
    }

    /** Adds the time of day. */
    private static void addTime(StringBuilder line, long epochMs) {
        int rest = (int) Math.floorMod(epochMs, DAY_MS);
        for (int unit : UNITS) {
            addDigits(line, rest / unit, 10).append(unit == 1_000 ? '.' : ':');
            rest %= unit;
        }
        addDigits(line, rest, 100);
    }

    private static StringBuilder addDigits(StringBuilder line, int number, int first) {
        for (int digit = first; digit > 0; digit /= 10) {
            line.append((char) ('0' + number / digit % 10));
        }
        return line;
    }

    /** Adds the first letter of each package, and the class. */
    private static void addShortened(StringBuilder line, String name) {
        int from = 0;
        for (int dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', from)) {
            line.append(name, from, Math.min(from + 1, dot)).append('.');
            from = dot + 1;
        }
        line.append(name, from, name.length());
    }
}
