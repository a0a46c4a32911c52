package io.mainspring.flink;

/** The program cannot be run as it is: one line that names the thing, the value and the remedy. */
final class CannotRun extends Exception {
    private static final long serialVersionUID = 1L;

    CannotRun(String message) {
        super(message);
    }
}
