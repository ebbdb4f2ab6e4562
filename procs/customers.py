"""Fake customers, as real as Faker makes them and several times as fast."""

import re
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import lru_cache
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from faker import Faker

T = TypeVar("T")

BLOCK = 1000
"""Customers that are made at a time, so that their order does not depend on the sizes of the batches."""

STOCK, FRESH = 1000, 100
"""Parts of one kind to choose from, and how many of them give way to fresh ones after each block.

Faker alone takes 60 us for a customer. A part that serves ten customers, each time in other company, costs
a tenth.
"""

# Many locales lack some of these: the first that is offered serves.
SECOND_LINE = ("secondary_address", "address_detail", "building_name", "building_number")
STATE = ("administrative_unit", "state", "province", "region", "city")

LOCAL_PARTS: tuple[Callable[[str, str, int], str], ...] = (
    lambda first, last, number: f"{first}.{last}",
    lambda first, last, number: f"{first}.{last}{number}",
    lambda first, last, number: f"{first}{last}{number}",
    lambda first, last, number: f"{first}_{last}{number}",
    lambda first, last, number: f"{last}.{first}{number}",
    lambda first, last, number: f"{first[0]}{last}{number}",
)
NUMBERS = range(1, 10_000)
ENDINGS = range(10, 100)
"""Last digits of a house and of a postcode: they are drawn for each customer anew."""

DOMAINS = ("example.com", "example.net", "example.org")
"""Reserved by RFC 2606: no real person is ever written to."""


def available_locales() -> frozenset[str]:
    """Return the locales that Faker knows, without importing it (80 ms and 15 MB)."""
    faker = find_spec("faker")
    if faker is None or faker.origin is None:
        return frozenset()
    folders = Path(faker.origin).parent.glob("providers/*/*/")
    return frozenset(folder.name for folder in folders if not folder.name.startswith("_"))


class Customers:
    """An endless row of fake customers; the same `locale` and `seed` give the same row, createdAt aside.

    `locale` is one of `available_locales()`. `seed` None draws a new row each time.
    """

    def __init__(self, locale: str, seed: int | None) -> None:
        self._faker = _create_faker(locale)
        self._faker.seed_instance(seed)
        self._row = chain.from_iterable(made_ahead(self._blocks()))

    def batch(self, n: int) -> list[dict[str, Any]]:
        """Return the next `n` customers of the row, created now."""
        now = datetime.now(UTC)
        return [{**customer, "createdAt": now} for customer in islice(self._row, n)]

    def _blocks(self) -> Iterator[list[dict[str, Any]]]:
        faker, choices, slug = self._faker, self._faker.random.choices, _slug_maker(self._faker)
        draws = (
            faker.first_name,
            faker.last_name,
            lambda: ", ".join(faker.street_address().splitlines()),
            _first_offered(faker, SECOND_LINE),
            faker.city,
            _first_offered(faker, STATE),
            _country(faker),
            faker.postcode,
        )
        stocks = [_Stock(draw) for draw in draws]
        while True:
            firsts, lasts, streets, *more, areas = (choices(stock.parts, k=BLOCK) for stock in stocks)
            lines1, postcodes = (with_endings(each, choices(ENDINGS, k=BLOCK)) for each in (streets, areas))
            forms, numbers, domains = (choices(kind, k=BLOCK) for kind in (LOCAL_PARTS, NUMBERS, DOMAINS))
            columns = zip(forms, numbers, domains, firsts, lasts, lines1, *more, postcodes, strict=True)
            yield [
                {
                    "firstName": first,
                    "lastName": last,
                    "email": f"{form(slug(first), slug(last), number)}@{domain}",
                    "address": {
                        "line1": line1,
                        "line2": line2,
                        "postcode": postcode,
                        "city": city,
                        "state": state,
                        "country": country,
                    },
                }
                for form, number, domain, first, last, line1, line2, city, state, country, postcode in columns
            ]
            for stock in stocks:
                stock.renew()


def made_ahead(blocks: Iterator[T]) -> Iterator[T]:
    """Give each of the endless `blocks`; a thread makes the next one while the caller waits for MongoDB."""
    with ThreadPoolExecutor(max_workers=1) as maker:
        following = maker.submit(next, blocks)
        while True:
            block = following.result()
            following = maker.submit(next, blocks)
            yield block


def with_endings(texts: list[str], endings: list[int]) -> list[str]:
    """Return `texts`, the last two digits of each (or the only one) taken from `endings`."""
    return [
        f"{before}{ending // cut}{after}" if cut else before
        for (before, cut, after), ending in zip(map(_split_at_ending, texts), endings, strict=True)
    ]


@lru_cache(maxsize=4 * STOCK)
def _split_at_ending(text: str) -> tuple[str, int, str]:
    """Return what is before and after the last digits, and what cuts an ending to their number (0: none)."""
    found = re.fullmatch("(.*?)([0-9]{1,2})([^0-9]*)", text)
    if not found:
        return text, 0, ""
    before, digits, after = found.groups()
    return before, 10 ** (2 - len(digits)), after


class _Stock:
    """Parts of one kind, the oldest of which are replaced bit by bit."""

    def __init__(self, draw: Callable[[], str]) -> None:
        self._draw = draw
        self._oldest = 0
        self.parts = [self._clean() for _ in range(STOCK)]

    def renew(self) -> None:
        self.parts[self._oldest : self._oldest + FRESH] = [self._clean() for _ in range(FRESH)]
        self._oldest = (self._oldest + FRESH) % STOCK

    def _clean(self) -> str:
        return " ".join(self._draw().split())


def _create_faker(locale: str) -> "Faker":
    # Imported here: the supervisor, which imports this module, never makes a customer.
    with warnings.catch_warnings(action="ignore"):  # a locale may call itself deprecated
        from faker import Faker

        faker = Faker(locale, use_weighting=False)
    # The flat or suite belongs into the second line only.
    address: Any = faker.provider("faker.providers.address")
    formats = tuple(each for each in address.street_address_formats if "secondary_address" not in each)
    address.street_address_formats = formats or address.street_address_formats
    return faker


def _first_offered(faker: "Faker", names: tuple[str, ...]) -> Callable[[], str]:
    draw: Callable[[], str] = next(getattr(faker, name) for name in names if hasattr(faker, name))
    return draw


def _country(faker: "Faker") -> Callable[[], str]:
    """The country that streets and cities belong to; any, if Faker does not know its name."""
    try:
        country: str = faker.current_country()
    except ValueError:
        draw: Callable[[], str] = faker.country
        return draw
    return lambda: country


def _slug_maker(faker: "Faker") -> Callable[[str], str]:
    from faker.decode import unidecode

    internet: Any = faker.provider("faker.providers.internet")
    replacements: tuple[tuple[str, str], ...] = internet.replacements

    @lru_cache(maxsize=2 * STOCK)
    def slug(name: str) -> str:
        """Return `name` in a-z: as the locale spells it (ü: ue), else transliterated."""
        name = name.lower()
        for letter, spelling in replacements:
            name = name.replace(letter, spelling)
        return re.sub("[^a-z]", "", unidecode(name).lower())

    return slug
