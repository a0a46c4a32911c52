"""Passes each connection to the socket that is its stdin on to the address that is its argument."""

import contextlib
import socket
import sys
import threading

# How long a connection may take to come about: as long as its caller would wait for an answer.
CONNECT_S = 2.0


def pass_on(source: socket.socket, target: socket.socket) -> None:
    """Passes on what comes one way, and the end of it."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        # One side broke the connection, so the other one is told, too.
        for side in (source, target):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)


def serve(near: socket.socket, to: tuple[str, int]) -> None:
    """Makes one connection on, and passes both ways until both have ended."""
    with near:
        try:
            far = socket.create_connection(to, timeout=CONNECT_S)
        except OSError:
            return
        with far:
            far.settimeout(None)
            answers = threading.Thread(target=pass_on, args=(far, near), daemon=True)
            answers.start()
            pass_on(near, far)
            answers.join()


def main() -> None:
    host, _, port = sys.argv[1].rpartition(":")
    listener = socket.socket(fileno=0)
    while True:
        near, _ = listener.accept()
        threading.Thread(target=serve, args=(near, (host, int(port))), daemon=True).start()


if __name__ == "__main__":
    main()
