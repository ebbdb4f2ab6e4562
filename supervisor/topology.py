"""The process tree and its pipes: two short tables. Nothing else knows the topology."""

from procs import generator, listener, reindexer, scanner, server, writer
from supervisor.tree import Child, Mode, Pipe

APP, SYNC, FULL = {Mode.ALL, Mode.APP}, {Mode.ALL, Mode.SYNC}, {Mode.FULL}

CHILDREN = (
    # name       target             modes                            group        stop  config
    Child("server", server.run, frozenset(Mode), "server", 4, "server", first=True),
    Child("generator", generator.run, frozenset(APP), "generator", 1, "generator"),
    Child("listener", listener.run, frozenset(SYNC), "sync", 2, "sync"),
    Child("scanner", scanner.run, frozenset(SYNC), "sync", 3, "sync"),
    Child("writer", writer.run, frozenset(SYNC), "sync", 3, "sync"),
    Child("reindexer", reindexer.run, frozenset(FULL), "reindexer", 1, "sync"),
)

PIPES = (
    Pipe("inserted", ("listener", "scanner")),
    Pipe("changed", ("listener", "writer")),
)
