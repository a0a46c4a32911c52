package io.mainspring.flink;

import java.util.stream.Collectors;

/**
 * Cuts messages to what fits on a screen, without the stacks that Flink's servers put into theirs.
 */
final class Text {
    private static final int LINES = 5;
    private static final int CHARACTERS = 1000;

    private Text() {}

    static String firstLine(String text) {
        return cut(text, 1);
    }

    static String firstLines(String text) {
        return cut(text, LINES);
    }

    private static String cut(String text, int most) {
        String lines =
                text.lines()
                        .filter(line -> !line.isBlank() && !line.strip().startsWith("at "))
                        .limit(most)
                        .collect(Collectors.joining("\n"));
        return lines.length() <= CHARACTERS ? lines : lines.substring(0, CHARACTERS) + "…";
    }
}
