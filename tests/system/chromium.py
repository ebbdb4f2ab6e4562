"""A real headless Chromium, driven over the pipe of its DevTools protocol: no port, no driver, no package.

https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.eventually import eventually

ANSWERS_S = 30
Event = dict[str, Any]


def _moved(descriptor: int) -> int:
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved


def find() -> str | None:
    """Return the path of a Chromium, if there is one."""
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    return next((path for path in found if path), None)


class Chromium:
    """One browser with one page. `events` holds all that the page has told so far."""

    def __init__(self, profile: Path, *, path: str) -> None:
        self.events: list[Event] = []
        self._number, self._rest, self._session = 0, b"", ""
        (there, self._tell), (self._hear, back) = os.pipe(), os.pipe()
        # Not 3 or 4, which are to be put in their place.
        there, back = _moved(there), _moved(back)
        arguments = ["--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--no-first-run"]
        arguments += ["--disable-gpu", "--disable-extensions", "--disable-background-networking"]
        arguments += [f"--user-data-dir={profile}", "about:blank"]
        # It hears from descriptor 3 and tells into 4.
        command = f'exec "$@" 3<&{there} 4>&{back} {there}<&- {back}>&-'
        self._process = subprocess.Popen(
            ["bash", "-c", command, "bash", path, *arguments],
            pass_fds=(there, back),
            env={**os.environ, "HOME": str(profile)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(there)
        os.close(back)

    def __enter__(self) -> Self:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._tell)
        os.close(self._hear)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Have the page (or the browser) do something; return what it answers."""
        self._number += 1
        message: Event = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._tell, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + ANSWERS_S
        answer: Event = {}
        while not answer:
            for heard in self._listen(until):
                if heard.get("id") == self._number:
                    answer = heard
                else:
                    self.events.append(heard)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return dict(answer["result"])

    def open(self, url: str) -> None:
        """Go to `url`."""
        self.call("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        told = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def text(self, selector: str) -> str:
        """Return what people read in the first element of `selector`; empty if there is none."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def shows(self, text: str, selector: str, timeout_s: float = 30) -> str:
        """Wait until the element of `selector` shows `text`; return all that it shows."""

        def shown() -> str:
            found = self.text(selector)
            return found if text.lower() in found.lower() else ""

        try:
            return str(eventually(shown, timeout_s))
        except AssertionError:
            raise AssertionError(f"{selector} shows {self.text(selector)!r}, not {text!r}") from None

    def window(self, width: int, height: int, *, scale: float = 1, dark: bool = False) -> None:
        """Give the page a size, and people who prefer light or dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=False,
        )
        self.call("Emulation.setScrollbarsHidden", hidden=True)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self) -> bytes:
        """Return the whole page as a PNG."""
        picture = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(picture["data"])

    def requests(self) -> list[str]:
        """Return the URLs that the page has asked for."""
        return [
            str(event["params"]["request"]["url"])
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]

    def complaints(self) -> list[Event]:
        """Return the errors and warnings in the console, and exceptions that nothing caught."""
        return [
            event
            for event in self.events
            if event.get("method") == "Runtime.exceptionThrown"
            or (event.get("method") == "Log.entryAdded" and event["params"]["entry"]["level"] != "verbose")
            or (event.get("method") == "Runtime.consoleAPICalled")
        ]

    def _listen(self, until: float) -> Sequence[Event]:
        left_s = until - time.monotonic()
        assert left_s > 0, "Chromium does not answer"
        assert self._process.poll() is None, "Chromium has ended"
        if not select.select([self._hear], [], [], min(left_s, 1.0))[0]:
            return []
        *whole, self._rest = (self._rest + os.read(self._hear, 1 << 20)).split(b"\0")
        return [json.loads(each) for each in whole]
