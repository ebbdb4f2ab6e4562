"""Where each value comes from, and where it goes. What is refused: test_settings_refused."""

import os
import re
import socket
from pathlib import Path

import pytest

from procs.config import (
    Database,
    GeneratorConfig,
    Policy,
    ServerConfig,
    SyncConfig,
    VerifierConfig,
    WebConfig,
)
from supervisor.settings import SETTINGS, Settings, SettingsError, load

ROOT = Path(__file__).parents[2]
HOME = {"HOME": "/home/jane"}
KEY = "0123456789abcdef"


@pytest.fixture(autouse=True)
def empty_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def given(**environ: str) -> Settings:
    return load(None, HOME | environ, instance="default")


def test_without_any_setting_all_have_their_defaults() -> None:
    settings = given()

    state_dir = Path("/home/jane/.local/state/clientsync")
    database = Database(uri="", name="clientsync", source="customers", mirror="customers_anonymised")
    assert settings == Settings(
        instance="default",
        state_dir=state_dir,
        runtime_dir=state_dir,
        log_level="INFO",
        log_format=None,
        stop_timeout_ms=10_000,
        hang_timeout_ms=20_000,
        verify_every="",
        verify_repair=False,
        metrics_addr="",
        ready_max_lag_ms=30_000,
        database=database,
        server=ServerConfig(state_dir / "mongod"),
        generator=GeneratorConfig(database, "en_US", seed=None, delay_ms=200, batch_min=1, batch_max=10),
        sync=SyncConfig(
            database=database,
            instance="default",
            node=f"{socket.gethostname()}:{state_dir}",
            policy=Policy(
                fields=(
                    "firstName",
                    "lastName",
                    "email",
                    "address.line1",
                    "address.line2",
                    "address.postcode",
                ),
                key=None,
                length=8,
                unknown="copy",
            ),
            on_drop="keep",
            lease_ms=3_000,
            batch_size=1_000,
            flush_inserts=1_000,
            flush_ms=1_000,
            rest_s=5.0,
        ),
    )


@pytest.mark.parametrize(
    ("hang_timeout_ms", "rest_s"), [(2_000, 1), (16_000, 1), (18_999, 3), (3_600_000, 5)]
)
def test_idle_children_beat_as_often_as_hang_timeout_ms_needs_between_one_second_and_five(
    hang_timeout_ms: int, rest_s: float
) -> None:
    assert given(HANG_TIMEOUT_MS=str(hang_timeout_ms)).sync.rest_s == rest_s


def test_each_setting_reaches_its_place() -> None:
    settings = load(
        None,
        HOME
        | {
            "MONGO_URI": "mongodb://user:s3cret@db/",
            "MONGO_DB": "shop",
            "SOURCE_COLLECTION": "people",
            "MIRROR_COLLECTION": "people_hidden",
            "FAKER_FILLING_DELAY_MS": "0",
            "FAKER_BATCH_MIN": "2",
            "FAKER_BATCH_MAX": "3",
            "FAKER_LOCALE": "de_DE",
            "FAKER_SEED": "7",
            "SYNC_BATCH_SIZE": "11",
            "SYNC_FLUSH_INSERTS": "12",
            "SYNC_FLUSH_MS": "13",
            "SYNC_ON_DROP": "empty",
            "SYNC_LEASE_MS": "2400",
            "ANON_FIELDS": "name, contact.email",
            "ANON_KEY": KEY,
            "ANON_LENGTH": "16",
            "ANON_UNKNOWN_FIELDS": "drop",
            "LOG_LEVEL": "DEBUG",
            "LOG_FORMAT": "json",
            "STATE_DIR": "/var/state",
            "STOP_TIMEOUT_MS": "1500",
            "HANG_TIMEOUT_MS": "16000",
            "VERIFY_EVERY": "6h",
            "VERIFY_REPAIR": "true",
            "METRICS_ADDR": "0.0.0.0:9464",
            "READY_MAX_LAG_MS": "5000",
            "RUNTIME_DIRECTORY": "/run/clientsync",
        },
        instance="second-1",
    )

    database = Database("mongodb://user:s3cret@db/", "shop", "people", "people_hidden")
    policy = Policy(("name", "contact.email"), key=KEY.encode(), length=16, unknown="drop")
    node = f"{socket.gethostname()}:/var/state"
    assert settings == Settings(
        instance="second-1",
        state_dir=Path("/var/state"),
        runtime_dir=Path("/run/clientsync"),
        log_level="DEBUG",
        log_format="json",
        stop_timeout_ms=1_500,
        hang_timeout_ms=16_000,
        verify_every="6h",
        verify_repair=True,
        metrics_addr="0.0.0.0:9464",
        ready_max_lag_ms=5_000,
        database=database,
        server=None,
        generator=GeneratorConfig(database, "de_DE", seed=7, delay_ms=0, batch_min=2, batch_max=3),
        sync=SyncConfig(database, "second-1", node, policy, "empty", 2_400, 11, 12, 13, 1.0),
    )


@pytest.mark.parametrize(
    ("addr", "host", "port"),
    [
        ("9464", "127.0.0.1", 9464),
        ("0.0.0.0:1", "0.0.0.0", 1),
        ("[::1]:65535", "::1", 65535),
        ("db-7:80", "db-7", 80),
    ],
)
def test_a_port_alone_is_for_this_machine_alone(addr: str, host: str, port: int) -> None:
    assert given(METRICS_ADDR=addr).web == WebConfig(host, port, ready_max_lag_ms=30_000)


def test_nothing_is_served_unless_asked_for() -> None:
    assert given().web is None


def test_the_uri_of_the_embedded_server_reaches_every_config() -> None:
    settings = given()

    connected = settings.with_uri("mongodb://user:s3cret@localhost/")

    assert settings.embedded
    assert connected.embedded
    configs = (connected, connected.generator, connected.sync)
    assert {config.database.uri for config in configs} == {"mongodb://user:s3cret@localhost/"}
    assert connected.with_uri("") == settings


@pytest.mark.parametrize(
    ("every", "every_s"), [("1s", 1), ("90s", 90), ("15m", 900), ("6h", 21_600), ("30d", 2_592_000)]
)
def test_the_verifier_is_told_what_sync_is_and_how_often(every: str, every_s: int) -> None:
    settings = given(VERIFY_EVERY=every, SYNC_BATCH_SIZE="5").with_uri("mongodb://db/")

    verifier = settings.verifier

    assert verifier == VerifierConfig(**vars(settings.sync), every_s=every_s, repair=False)


def test_without_an_interval_there_is_no_verifier() -> None:
    assert given(VERIFY_EVERY="", VERIFY_REPAIR="true").verifier is None


def test_an_own_server_is_not_embedded() -> None:
    settings = given(MONGO_URI="mongodb://db/")

    assert not settings.embedded
    assert settings.server is None


def test_no_secret_shows_in_the_repr() -> None:
    settings = given(MONGO_URI="mongodb://user:s3cret@db/", ANON_KEY="s3cret-s3cret-s3cret")

    assert "s3cret" not in repr(settings)


def test_a_value_of_the_process_environment_wins_over_the_env_file() -> None:
    Path(".env").write_text("SYNC_BATCH_SIZE=5\nSYNC_FLUSH_MS=6\n")

    settings = given(SYNC_BATCH_SIZE="7")

    assert (settings.sync.batch_size, settings.sync.flush_ms) == (7, 6)


def test_an_empty_value_stands_for_the_default_and_wins_like_any_other() -> None:
    Path(".env").write_text("MONGO_URI=mongodb://db/\nFAKER_SEED=5\n")

    settings = given(MONGO_URI="", FAKER_SEED="")

    assert settings.embedded
    assert settings.generator.seed is None


def test_only_the_environment_that_was_passed_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNC_BATCH_SIZE", "5")
    monkeypatch.setenv("MONGO_URI_FILE", "/nonexistent")

    settings = given()

    assert settings.sync.batch_size == 1_000
    assert settings.embedded


def test_the_env_file_never_enters_the_process_environment() -> None:
    Path(".env").write_text("SYNC_BATCH_SIZE=5\nFOREIGN=1\n")
    before = dict(os.environ)

    given()

    assert dict(os.environ) == before


def test_the_env_file_of_the_folder_above_is_not_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Path(".env").write_text("SYNC_BATCH_SIZE=5\n")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")

    assert given().sync.batch_size == 1_000


def test_a_given_env_file_is_read_instead_of_the_default_one(tmp_path: Path) -> None:
    Path(".env").write_text("SYNC_BATCH_SIZE=5\nSYNC_FLUSH_MS=6\n")
    (tmp_path / "other.env").write_text("SYNC_BATCH_SIZE=7\n")

    settings = load(tmp_path / "other.env", HOME, instance="default")

    assert (settings.sync.batch_size, settings.sync.flush_ms) == (7, 1_000)


def test_a_given_env_file_that_is_missing_is_an_error() -> None:
    with pytest.raises(SettingsError, match=r"^--env-file absent\.env: No such file or directory; "):
        load(Path("absent.env"), HOME, instance="default")


def test_nothing_is_expanded_in_a_value_of_the_environment() -> None:
    assert given(ANON_KEY="${HOME}-{{HOME}}-0123").sync.policy.key == b"${HOME}-{{HOME}}-0123"


def test_foreign_names_are_left_alone() -> None:
    Path(".env").write_text("POSTGRES_USER=x\nMONGO_INITDB_ROOT_PASSWORD=x\nDEBUG=\n")

    assert given(MONGO_HOME="/opt/mongo", METRICS_PORT="9").instance == "default"


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_secrets_may_come_from_files(tmp_path: Path, end: str) -> None:
    (tmp_path / "uri").write_bytes(f"mongodb://user:s3cret@db/{end}".encode())
    (tmp_path / "key").write_bytes(f"{KEY}{end}".encode())

    settings = given(MONGO_URI_FILE=str(tmp_path / "uri"), ANON_KEY_FILE=str(tmp_path / "key"))

    assert settings.database.uri == "mongodb://user:s3cret@db/"
    assert settings.sync.policy.key == KEY.encode()


def test_a_key_file_may_hold_any_bytes_and_loses_one_line_end_only(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff\x00" * 8 + b"\n\n")

    assert given(ANON_KEY_FILE=str(tmp_path / "key")).sync.policy.key == b"\xff\x00" * 8 + b"\n"


@pytest.mark.parametrize(
    ("environ", "state_dir"),
    [
        ({"STATE_DIR": "/a", "STATE_DIRECTORY": "/b", "XDG_STATE_HOME": "/c"}, "/a"),
        ({"STATE_DIRECTORY": "/b", "XDG_STATE_HOME": "/c"}, "/b"),
        ({"STATE_DIRECTORY": "/b:/b2"}, "/b"),
        ({"XDG_STATE_HOME": "/c"}, "/c/clientsync"),
        ({"XDG_STATE_HOME": "relative"}, "/home/jane/.local/state/clientsync"),
        ({"XDG_STATE_HOME": "", "STATE_DIR": ""}, "/home/jane/.local/state/clientsync"),
    ],
)
def test_the_state_directory_is_as_set_else_of_systemd_else_of_the_user(
    environ: dict[str, str], state_dir: str
) -> None:
    settings = given(**environ)

    assert settings.state_dir == Path(state_dir)
    assert settings.runtime_dir == Path(state_dir)
    assert settings.server == ServerConfig(Path(state_dir) / "mongod")


def test_a_user_without_a_home_directory_must_set_the_state_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)

    assert load(None, {"STATE_DIR": "/a"}, instance="default").state_dir == Path("/a")
    with pytest.raises(SettingsError, match=r"^STATE_DIR: must be set, this user has no home directory"):
        load(None, {}, instance="default")


def test_a_relative_state_directory_starts_at_the_working_directory(tmp_path: Path) -> None:
    assert given(STATE_DIR="state").state_dir == tmp_path / "state"


def test_the_example_holds_every_setting_and_nothing_else() -> None:
    in_example = re.findall(r"^(?:# )?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)

    known = [setting.name for setting in SETTINGS] + ["MONGO_URI_FILE", "ANON_KEY_FILE"]
    assert sorted(in_example) == sorted(known)


def test_the_example_is_valid_as_it_is_and_gives_the_defaults() -> None:
    assert load(ROOT / ".env.example", HOME, instance="default") == given()


def test_the_example_writes_out_every_default_that_there_is() -> None:
    values = dict(re.findall(r"^([A-Z_]+)=(.+)$", (ROOT / ".env.example").read_text(), re.MULTILINE))

    with_default = {setting.name for setting in SETTINGS if setting.default not in (None, "")}
    assert values.keys() == with_default
