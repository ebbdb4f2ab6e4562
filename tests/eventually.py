"""Waiting for a condition, with a deadline."""

import time
from collections.abc import Callable
from typing import Any

POLL_S = 0.02


def eventually(condition: Callable[[], Any], timeout_s: float = 15, message: str = "") -> Any:
    """Return the first true value of `condition`; AssertionError with its last value when time is out."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(
                f"{message or 'condition'} not met within {timeout_s} s; last value: {value!r}"
            )
        time.sleep(POLL_S)
