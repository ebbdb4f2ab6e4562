"""A server on a real socket, and clients that behave badly."""

import socket
import threading
from collections.abc import Iterator, Mapping
from http import HTTPStatus

import pytest

from procs import httpd
from procs.httpd import CONNECTIONS, HEAD_BYTES, Answer, HttpServer
from procs.web import listen
from tests.eventually import eventually

Address = tuple[str, int]


def answers(path: str, headers: Mapping[str, str]) -> Answer:
    return Answer.line(HTTPStatus.OK, f"{path} {headers.get('X-Word', '')}")


@pytest.fixture(params=["127.0.0.1", "::1", "localhost"])
def server(request: pytest.FixtureRequest) -> Iterator[Address]:
    """The address of a server that tells back path and word."""
    try:
        listening = listen(request.param, 0)
    except OSError:
        pytest.skip(f"this machine has no {request.param}")
    done = threading.Event()
    with HttpServer(listening, answers) as http:

        def work() -> None:
            while not done.is_set():
                http.handle_request()
                done.wait(0.001)

        worker = threading.Thread(target=work)
        worker.start()
        yield listening.getsockname()[:2]
        done.set()
        worker.join()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(httpd, "ASK_S", 0.2)


def ask(address: Address, request: bytes) -> str:
    """Send bytes; return all that comes back until the server hangs up."""
    with socket.create_connection(address, timeout=10) as client:
        client.sendall(request)
        return everything(client)


def everything(client: socket.socket) -> str:
    received = b""
    try:
        while chunk := client.recv(65536):
            received += chunk
    except ConnectionResetError:
        pass
    return received.decode()


def test_a_get_is_answered_once_and_the_connection_closed(server: Address) -> None:
    told = ask(server, b"GET /a%20b?c=d HTTP/1.1\r\nX-Word: hello\r\n\r\nGET /second HTTP/1.1\r\n\r\n")

    head, _, body = told.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.0 200 OK\r\nServer: clientsync\r\n")
    assert "\r\nContent-Length: 13" in head
    assert body == "/a%20b hello\n"


def test_a_head_is_answered_without_a_body(server: Address) -> None:
    told = ask(server, b"HEAD /a HTTP/1.1\r\n\r\n")

    assert "\r\nContent-Length: 4\r\n" in told
    assert told.endswith("\r\n\r\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "405 Method Not Allowed"),
        (b"DELETE /<b> HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        (b"GET / HTTP/9.9\r\n\r\n", "505 HTTP Version Not Supported"),
        (b"<script> <script> <script> x\r\n\r\n", "400 Bad Request"),
        (b"GET /" + b"a" * HEAD_BYTES + b" HTTP/1.1\r\n\r\n", "431 Request Header Fields Too Large"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", "431 Request Header Fields Too Large"),
    ],
)
def test_what_is_no_get_is_refused_without_repeating_it(
    server: Address, request_: bytes, status: str
) -> None:
    told = ask(server, request_)

    assert told.startswith(f"HTTP/1.0 {status}\r\n")
    assert "<" not in told


def test_a_request_that_trickles_in_is_cut_off(impatient: None, server: Address) -> None:
    with socket.create_connection(server, timeout=10) as client:
        client.sendall(b"GET / HTTP/1.1\r\n")

        assert everything(client) == ""


def test_noise_is_answered_with_silence_or_an_error(impatient: None, server: Address) -> None:
    for noise in (b"", b"\x16\x03\x01\x02\x00\x01", b"\r\n\r\n", b"\0" * 100_000, b"GET\r\n\r\n"):
        told = ask(server, noise)

        assert told == "" or told.startswith("HTTP/1.0 4")


def test_of_too_many_connections_the_oldest_makes_way(server: Address) -> None:
    silent = [socket.create_connection(server, timeout=10) for _ in range(CONNECTIONS + 5)]

    for number, client in enumerate(silent[:5]):
        assert everything(client) == "", number
    assert ask(server, b"GET /still HTTP/1.0\r\n\r\n").endswith("/still \n")
    silent[-1].sendall(b"GET /newest HTTP/1.0\r\n\r\n")
    assert everything(silent[-1]).endswith("/newest \n")

    for client in silent:
        client.close()
    eventually(lambda: threading.active_count() < CONNECTIONS)
