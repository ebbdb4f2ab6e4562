"""What a scraper or a probe gets from a daemon's web child."""

from http.client import HTTPConnection, HTTPException
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families as parse


class Got(NamedTuple):
    """An answer; code 0: there was none."""

    code: int
    text: str


def get(port: int, path: str) -> Got:
    """GET a path at a port of this machine."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return Got(response.status, response.read().decode())
    except (OSError, HTTPException) as error:
        return Got(0, type(error).__name__)
    finally:
        connection.close()


def metric(port: int, name: str, **labels: str) -> float | None:
    """Return a sample of /metrics, the sum of those with these labels; None if there is none."""
    got = get(port, "/metrics")
    samples = [
        sample.value
        for family in (parse(got.text) if got.code == 200 else ())
        for sample in family.samples
        if sample.name == f"clientsync_{name}" and labels.items() <= sample.labels.items()
    ]
    return sum(samples) if samples else None
