"""An HTTP server that no client can disturb: few connections, one short request each, deadlines both ways.

One that asks slowly, or does not read, costs a thread for some seconds; when there are too many, the oldest
connection makes way for the newest.
"""

import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from socketserver import BaseServer, TCPServer, ThreadingMixIn
from threading import Lock
from typing import Any, NamedTuple

CONNECTIONS = 32
ASK_S = 5.0
"""The whole request must have come by then."""
TELL_S = 5.0
"""The whole answer must have been taken by then."""
HEAD_BYTES = 8_192

PLAIN = "text/plain; charset=utf-8"


class Answer(NamedTuple):
    """What is sent back."""

    status: HTTPStatus
    body: bytes
    content_type: str = PLAIN
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def line(cls, status: HTTPStatus, text: str) -> "Answer":
        """Return one line of text."""
        return cls(status, f"{text}\n".encode())


Answers = Callable[[str, Mapping[str, str]], Answer]
"""Answers a GET of a path with these headers."""


class HttpServer(ThreadingMixIn, TCPServer):
    """Answers what comes in on `listening`: wait until that is readable, then call `handle_request`."""

    daemon_threads = True
    timeout = 0

    def __init__(self, listening: socket.socket, answers: Answers) -> None:
        # That of TCPServer would make a socket of its own.
        BaseServer.__init__(self, listening.getsockname(), _Request)
        self.socket = listening
        self.answers = answers
        self._open: dict[socket.socket, None] = {}
        self._lock = Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own; the oldest connection makes way if there are too many."""
        with self._lock:
            oldest = next(iter(self._open)) if len(self._open) >= CONNECTIONS else None
            if oldest:
                del self._open[oldest]
                with suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)
            self._open[request] = None
        super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:
        """Forget a connection."""
        with self._lock:
            self._open.pop(request, None)
        super().close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Leave it: the client is gone, too slow, or talks nonsense."""


class _Request(BaseHTTPRequestHandler):
    """One connection: reads a head, writes one answer, closes."""

    server: HttpServer

    def setup(self) -> None:
        self.connection = self.request
        self._told = self.wfile = BytesIO()

    def handle(self) -> None:
        head = _read_head(self.connection)
        self.rfile = BytesIO(head)
        self.raw_requestline = self.rfile.readline()
        if len(head) >= HEAD_BYTES:
            self.requestline = self.command = ""
            self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif self.raw_requestline and self.parse_request():
            self._answer()

    def finish(self) -> None:
        self.connection.settimeout(TELL_S)
        self.connection.sendall(self._told.getvalue())

    def _answer(self) -> None:
        if self.command not in ("GET", "HEAD"):
            only = Answer.line(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD")
            self._write(only._replace(headers=(("Allow", "GET, HEAD"),)))
            return
        self._write(self.server.answers(self.path.partition("?")[0], dict(self.headers)))

    def _write(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer with the name of the error, and with nothing that the client has sent."""
        status = HTTPStatus(code)
        self.request_version = self.protocol_version  # of a request that names none, no status line is sent
        self._write(Answer.line(status, status.phrase))

    def version_string(self) -> str:
        """Tell a client no more than the name."""
        return "clientsync"

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a client must not be able to fill the log."""


def _read_head(connection: socket.socket) -> bytes:
    """Return what comes up to an empty line, at most HEAD_BYTES. OSError if that takes too long."""
    by = time.monotonic() + ASK_S
    head = b""
    while b"\r\n\r\n" not in head and b"\n\n" not in head and len(head) < HEAD_BYTES:
        left_s = by - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        connection.settimeout(left_s)
        received = connection.recv(HEAD_BYTES - len(head))
        if not received:
            return b""
        head += received
    return head
