"""Takes the picture of the live page for the README: `python -m tests.system.picture URL FILE`."""

import sys
import tempfile
from pathlib import Path

from tests.system.chromium import Chromium, find


def main(url: str, file: Path) -> None:
    path = find()
    if path is None:
        sys.exit("there is no Chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as profile, Chromium(Path(profile), path=path) as browser:
        browser.window(1080, 900)
        browser.open(url)
        browser.shows("running", "#processes")
        browser.shows("s", "#lag-now")
        file.write_bytes(browser.screenshot())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
