package io.mainspring.flink;

import java.util.stream.Collectors;

/** Messages cut to what fits on a screen. */
final class Text {
    private static final int LINES = 5;
    private static final int CHARACTERS = 2000;

    private Text() {}

    static String firstLines(String text) {
        String lines = text.lines().limit(LINES).collect(Collectors.joining("\n"));
        return lines.length() <= CHARACTERS ? lines : lines.substring(0, CHARACTERS) + "…";
    }
}
