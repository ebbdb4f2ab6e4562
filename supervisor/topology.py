"""The process tree and its pipes: two short tables. Nothing else knows the topology."""

from procs import copier, generator, listener, reindexer, scanner, server, verifier, web, writer
from supervisor.tree import Child, Mode, Pipe

APP, SYNC, FULL = {Mode.ALL, Mode.APP}, {Mode.ALL, Mode.SYNC}, {Mode.FULL}
SERVED = APP | SYNC

CHILDREN = (
    # name       target             modes                            group        stop  config
    Child("server", server.run, frozenset(Mode), "server", 4, "server", first=True),
    Child("generator", generator.run, frozenset(APP), "generator", 1, "generator"),
    Child("web", web.run, frozenset(SERVED), "web", 3, "web"),
    Child("listener", listener.run, frozenset(SYNC), "sync", 2, "sync"),
    Child("scanner", scanner.run, frozenset(SYNC), "sync", 3, "sync"),
    Child("writer", writer.run, frozenset(SYNC), "sync", 3, "sync"),
    Child("verifier", verifier.run, frozenset(SYNC), "verifier", 1, "verifier"),
    Child("reindexer", reindexer.run, frozenset(FULL), "reindex", 1, "sync"),
    Child("copier-1", copier.run, frozenset(FULL), "reindex", 2, "sync"),
    Child("copier-2", copier.run, frozenset(FULL), "reindex", 2, "sync"),
)

PIPES = (
    Pipe("inserted", ("listener", "scanner")),
    Pipe("changed", ("listener", "writer")),
    Pipe("first", ("reindexer", "copier-1")),
    Pipe("second", ("reindexer", "copier-2")),
)
