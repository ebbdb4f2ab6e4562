"""One raw value (type byte and bytes) of each BSON type, written by hand: pymongo cannot encode them all."""

import struct

from bson import encode

INNER = encode({"a": 1})
SCOPED = struct.pack("<i", 4 + 5 + len(INNER)) + struct.pack("<i", 1) + b"\0" + INNER

EVERY_TYPE = {
    "double": b"\x01" + struct.pack("<d", 1.5),
    "string": b"\x02" + struct.pack("<i", 5) + b"John\0",
    "string with NUL inside": b"\x02" + struct.pack("<i", 10) + b"a\0\x02name\0b\0",
    "string that is not UTF-8": b"\x02" + struct.pack("<i", 4) + b"\xff\xfea\0",
    "document": b"\x03" + INNER,
    "empty document": b"\x03" + encode({}),
    "array": b"\x04" + encode({"0": "x", "1": 2}),
    "array with other names": b"\x04" + encode({"7": "x", "7b": 2}),
    "binary": b"\x05" + struct.pack("<i", 3) + b"\x80\0\1\2",
    "empty binary": b"\x05" + struct.pack("<i", 0) + b"\0",
    "old binary": b"\x05" + struct.pack("<i", 7) + b"\x02" + struct.pack("<i", 3) + b"abc",
    "uuid": b"\x05" + struct.pack("<i", 16) + b"\x04" + bytes(range(16)),
    "undefined": b"\x06",
    "object id": b"\x07" + bytes(range(12)),
    "false": b"\x08\0",
    "true": b"\x08\1",
    "date": b"\x09" + struct.pack("<q", 1_700_000_000_000),
    "date in year 10000": b"\x09" + struct.pack("<q", 253_402_300_800_000),
    "smallest date": b"\x09" + struct.pack("<q", -(2**63)),
    "null": b"\x0a",
    "regex": b"\x0ba.*b\0i\0",
    "regex that is not UTF-8": b"\x0b\xff\0\0",
    "db pointer": b"\x0c" + struct.pack("<i", 3) + b"db\0" + bytes(range(12)),
    "code": b"\x0d" + struct.pack("<i", 2) + b"f\0",
    "code that is not UTF-8": b"\x0d" + struct.pack("<i", 2) + b"\xff\0",
    "symbol": b"\x0e" + struct.pack("<i", 5) + b"John\0",
    "code with scope": b"\x0f" + SCOPED,
    "int32": b"\x10" + struct.pack("<i", -7),
    "timestamp": b"\x11" + struct.pack("<II", 1, 2),
    "int64": b"\x12" + struct.pack("<q", 2**40),
    "decimal128": b"\x13" + bytes(16),
    "max key": b"\x7f",
    "min key": b"\xff",
}
