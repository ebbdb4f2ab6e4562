from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.reload import compare
from supervisor.settings import SETTINGS, Settings, load

HOME = {"HOME": "/home/jane"}
OLD_URI, NEW_URI = "mongodb://user:s3cret-old@db/", "mongodb://user:s3cret-new@db/"

SYNC = {"sync", "verifier"}
"""The verifier is told all that sync is."""

# What each setting may change to, the configs that take it live, and those that restart.
EFFECTS: dict[str, tuple[str, set[str], set[str]]] = {
    "MONGO_URI": (NEW_URI, set(), {"generator", *SYNC}),
    "MONGO_DB": ("shop", set(), {"generator", *SYNC}),
    "SOURCE_COLLECTION": ("people", set(), {"generator", *SYNC}),
    "MIRROR_COLLECTION": ("people", set(), {"generator", *SYNC}),
    "FAKER_FILLING_DELAY_MS": ("0", {"generator"}, set()),
    "FAKER_BATCH_MIN": ("2", {"generator"}, set()),
    "FAKER_BATCH_MAX": ("11", {"generator"}, set()),
    "FAKER_LOCALE": ("de_DE", set(), {"generator"}),
    "FAKER_SEED": ("1", set(), {"generator"}),
    "SYNC_BATCH_SIZE": ("500", SYNC, set()),
    "SYNC_FLUSH_INSERTS": ("1", SYNC, set()),
    "SYNC_FLUSH_MS": ("1", SYNC, set()),
    "SYNC_ON_DROP": ("empty", set(), SYNC),
    "SYNC_LEASE_MS": ("5000", set(), SYNC),
    "ANON_FIELDS": ("name,email", set(), SYNC),
    "ANON_KEY": ("s3cret-s3cret-new", set(), SYNC),
    "ANON_LENGTH": ("9", set(), SYNC),
    "ANON_UNKNOWN_FIELDS": ("drop", set(), SYNC),
    "VERIFY_EVERY": ("1d", {"verifier"}, set()),
    "VERIFY_REPAIR": ("true", {"verifier"}, set()),
    "LOG_LEVEL": ("DEBUG", set(), set()),
    "STOP_TIMEOUT_MS": ("100", set(), set()),
    "HANG_TIMEOUT_MS": ("2000", {"sync", "verifier"}, set()),
    "METRICS_ADDR": ("9465", set(), {"web"}),
    "READY_MAX_LAG_MS": ("1", {"web"}, set()),
}
WAITING = {"STATE_DIR": "/elsewhere", "LOG_FORMAT": "json"}


@pytest.fixture(autouse=True)
def empty_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield


def given(**environ: str) -> Settings:
    return load(None, HOME | environ, instance="default")


def own_server(**environ: str) -> Settings:
    return given(**{"MONGO_URI": OLD_URI, "METRICS_ADDR": "9464", "VERIFY_EVERY": "6h"} | environ)


def test_equal_settings_change_nothing() -> None:
    changes = compare(own_server(), own_server())

    assert changes.settings == own_server()
    assert (changes.live, changes.restart) == (frozenset(), frozenset())
    assert (changes.changed, changes.at_next_start) == ((), ())


@pytest.mark.parametrize("name", EFFECTS)
def test_each_setting_is_taken_live_or_restarts_just_the_children_concerned(name: str) -> None:
    value, live, restart = EFFECTS[name]
    old, new = own_server(), own_server(**{name: value})

    changes = compare(old, new)

    assert (set(changes.live), set(changes.restart)) == (live, restart)
    assert changes.settings == new
    assert len(changes.changed) == 1
    assert changes.changed[0].startswith(f"{name} ")
    assert changes.at_next_start == ()


@pytest.mark.parametrize("name", WAITING)
def test_what_a_running_daemon_cannot_take_waits_for_the_next_start(name: str) -> None:
    old = given().with_uri(OLD_URI)
    new = given(**{name: WAITING[name]})

    changes = compare(old, new)

    assert changes.settings == old
    assert (changes.live, changes.restart, changes.changed) == (frozenset(), frozenset(), ())
    assert len(changes.at_next_start) == 1
    assert changes.at_next_start[0].startswith(f"{name} ")


def test_every_setting_has_an_effect_that_is_tested_here() -> None:
    assert EFFECTS.keys() | WAITING.keys() == {setting.name for setting in SETTINGS}


def test_lines_tell_old_and_new_value_by_the_name_of_the_setting() -> None:
    old = given(SYNC_BATCH_SIZE="1000", FAKER_SEED="7")
    new = given(SYNC_BATCH_SIZE="500", LOG_FORMAT="json", ANON_FIELDS="name,email")

    changes = compare(old, new)

    assert changes.changed == (
        "FAKER_SEED 7 -> (none)",
        "SYNC_BATCH_SIZE 1000 -> 500",
        "ANON_FIELDS firstName,lastName,email,address.line1,address.line2,address.postcode -> name,email",
    )
    assert changes.at_next_start == ("LOG_FORMAT (none) -> json",)


def test_to_be_off_is_told_as_none() -> None:
    changes = compare(given(), given(METRICS_ADDR="9464"))

    assert changes.changed == ("METRICS_ADDR (none) -> 9464",)


def test_secrets_are_told_by_name_only() -> None:
    old = own_server(ANON_KEY="s3cret-s3cret-old")
    new = own_server(ANON_KEY="s3cret-s3cret-new", MONGO_URI=NEW_URI)

    changes = compare(old, new)

    assert changes.changed == ("MONGO_URI changed", "ANON_KEY changed")
    assert "s3cret" not in repr(changes)


def test_a_live_and_another_change_of_one_config_restart_it() -> None:
    changes = compare(own_server(), own_server(SYNC_BATCH_SIZE="500", SYNC_ON_DROP="empty"))

    assert (set(changes.live), set(changes.restart)) == (set(), SYNC)


def test_the_uri_of_the_embedded_server_stays_in_force() -> None:
    running = given().with_uri(OLD_URI)

    changes = compare(running, given(SYNC_FLUSH_MS="5"))

    assert (set(changes.live), set(changes.restart)) == ({"sync"}, set())
    assert changes.settings == given(SYNC_FLUSH_MS="5").with_uri(OLD_URI)
    assert changes.changed == ("SYNC_FLUSH_MS 1000 -> 5",)


def test_the_embedded_server_goes_when_another_one_is_named_and_comes_back() -> None:
    embedded, own = given().with_uri(OLD_URI), given(MONGO_URI=NEW_URI)

    gone, back = compare(embedded, own), compare(own, given())

    assert gone.restart == back.restart == {"server", "generator", "sync"}
    assert gone.changed == back.changed == ("MONGO_URI changed",)
    assert gone.settings.server is None
    assert back.settings.server == given().server
    assert back.settings.database.uri == ""


def test_a_server_that_comes_with_another_state_directory_keeps_to_the_old_one() -> None:
    old, new = own_server(), given(STATE_DIR="/elsewhere")

    changes = compare(old, new)

    assert changes.settings == given()
    assert changes.at_next_start == ("STATE_DIR /home/jane/.local/state/clientsync -> /elsewhere",)
