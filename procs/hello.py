"""Asks the mongod on loopback what it is: no login, no thread, no pool, and never longer than told."""

import socket
import struct
from typing import Any

import bson
from bson.errors import InvalidBSON

OP_MSG = 2013
HEADER = struct.Struct("<iiii")
FLAGS_AND_KIND = b"\0\0\0\0\0"
MAX_REPLY_BYTES = 1_000_000


def hello(port: int, timeout_s: float) -> dict[str, Any]:
    """Return the reply to `hello`; OSError when there is none within `timeout_s`, or not a mongod's."""
    question = FLAGS_AND_KIND + bson.encode({"hello": 1, "$db": "admin"})
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        connection.sendall(HEADER.pack(HEADER.size + len(question), 1, 0, OP_MSG) + question)
        with connection.makefile("rb") as stream:
            header = stream.read(HEADER.size)
            length = HEADER.unpack(header)[0] - HEADER.size if len(header) == HEADER.size else 0
            if not len(FLAGS_AND_KIND) < length < MAX_REPLY_BYTES:
                raise ConnectionError("not the reply of a mongod")
            reply = stream.read(length)
    try:
        return dict(bson.decode(reply[len(FLAGS_AND_KIND) :]))
    except InvalidBSON as error:
        raise ConnectionError("not the reply of a mongod") from error
