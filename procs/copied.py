"""What one or more copies did, in customers."""

from dataclasses import asdict, astuple, dataclass


@dataclass(frozen=True)
class Copied:
    """`scanned` are those that the source has; of the others, `deleted`, only the image was there."""

    scanned: int = 0
    inserted: int = 0
    replaced: int = 0
    deleted: int = 0
    unchanged: int = 0

    def __add__(self, other: "Copied") -> "Copied":
        return Copied(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))

    def results(self) -> dict[str, int]:
        """Return how many customers came off in which way."""
        return {name: number for name, number in asdict(self).items() if name != "scanned"}
