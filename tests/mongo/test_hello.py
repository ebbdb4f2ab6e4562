"""Asking the server on loopback what it is."""

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from procs.hello import hello


class TestHello:
    def test_a_server_that_says_nothing_is_not_waited_for(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TimeoutError):
            hello(silent.getsockname()[1], 0.05)

    @pytest.mark.parametrize(
        "reply",
        [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\0\0\0" + b"\xff" * 28, b"\x40\0\0\0" + b"\0" * 20],
    )
    def test_a_server_that_is_no_mongod_is_an_oserror(self, reply: bytes) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other, ThreadPoolExecutor(1) as pool:
            asked = pool.submit(hello, other.getsockname()[1], 5)
            connection, _ = other.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(reply)
                connection.shutdown(socket.SHUT_WR)
                with pytest.raises(ConnectionError):
                    asked.result()
