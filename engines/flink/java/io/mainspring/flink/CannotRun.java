package io.mainspring.flink;

/**
 * The program cannot be run as it is. The message is one line that names the thing, the value and
 * the remedy.
 */
final class CannotRun extends Exception {
    private static final long serialVersionUID = 1L;

    CannotRun(String message) {
        super(message);
    }
}
