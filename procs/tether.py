"""Runs a program that cannot outlive the process that started it; this file is itself run by its path.

A `preexec_fn` would do the same, but is unsafe as soon as a thread exists: every MongoClient has some.
"""

import ctypes
import os
import resource
import signal
import sys

CANNOT_EXECUTE = 126
PR_SET_PDEATHSIG = 1


def command(program: str, *arguments: str) -> list[str]:
    """Return the command line that executes `program`, tied to the calling process.

    It exits with CANNOT_EXECUTE when the program cannot be executed. The death that counts is that of the
    calling *thread*: start programs from the main one.
    """
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), program, *arguments]


def forbid_core_dumps() -> None:
    """Let neither this process nor what it starts dump its core: it would hold customers in clear."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    # The kernel hands a core to the program in core_pattern even at a limit of 0, but not at 1.
    limit = min(abs(most), 1)  # "unlimited" is -1
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))


def main(parent: int, program: str, arguments: list[str]) -> None:
    """Turn this process into `program`: killed with `parent`, without core dumps, its files private."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the parent died before its death could be watched")
    forbid_core_dumps()
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_DFL)
    os.umask(0o077)
    try:
        os.execv(program, [program, *arguments])
    except OSError:
        sys.exit(CANNOT_EXECUTE)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
