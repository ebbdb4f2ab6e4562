"""Every setting that is refused, by name: what was given, and what is allowed."""

from pathlib import Path

import pytest

from supervisor.settings import SettingsError, load

HOME = {"HOME": "/home/jane"}
ENCODE = "in user and password, characters such as @ / ? : % must be percent-encoded"


@pytest.fixture(autouse=True)
def empty_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def problems_of(environ: dict[str, str], *, instance: str = "default") -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(None, HOME | environ, instance=instance)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("name", "unit", "low", "high"),
    [
        ("FAKER_FILLING_DELAY_MS", "of milliseconds ", 0, 86_400_000),
        ("FAKER_BATCH_MIN", "", 1, 10_000),
        ("FAKER_BATCH_MAX", "", 1, 10_000),
        ("FAKER_SEED", "", 0, 2**63 - 1),
        ("SYNC_BATCH_SIZE", "", 1, 10_000),
        ("SYNC_FLUSH_INSERTS", "", 1, 100_000),
        ("SYNC_FLUSH_MS", "of milliseconds ", 1, 3_600_000),
        ("SYNC_LEASE_MS", "of milliseconds ", 2_000, 3_600_000),
        ("ANON_LENGTH", "", 8, 64),
        ("STOP_TIMEOUT_MS", "of milliseconds ", 100, 3_600_000),
        ("HANG_TIMEOUT_MS", "of milliseconds ", 2_000, 3_600_000),
    ],
)
def test_a_number_must_be_whole_and_within_its_bounds(name: str, unit: str, low: int, high: int) -> None:
    must = f"must be a whole number {unit}from {low} to {high}"
    wrong = [str(low - 1), str(high + 1), "-5", "many", "1.5", "1e3", " ", "5s", "0x10"]

    for value in wrong:
        assert problems_of({name: value}) == [f"{name}={value!r} in the environment: {must}"]


@pytest.mark.parametrize(
    ("name", "values", "must"),
    [
        ("LOG_LEVEL", ["LOUD", "info", "10"], "must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
        ("LOG_FORMAT", ["xml", "auto"], "must be one of json, console"),
        ("SYNC_ON_DROP", ["delete", "Keep"], "must be one of keep, empty"),
        ("ANON_UNKNOWN_FIELDS", ["remove"], "must be one of copy, drop, hash"),
        (
            "FAKER_LOCALE",
            ["xx_XX", "en_us", "en_US,de_DE"],
            "must be a locale that Faker knows, such as en_US",
        ),
        (
            "MONGO_DB",
            ["a/b", "a.b", "a b", 'a"b', "a$b", "a\\b", "ä" * 32],
            "must be a database name: at most",
        ),
        (
            "MONGO_DB",
            ["admin", "local", "Config"],
            "must be a database of your own, not one of admin, config",
        ),
        (
            "SOURCE_COLLECTION",
            ["a$b", "system.users", ".a", "a.", "a..b"],
            "must be a collection name: without",
        ),
        (
            "MIRROR_COLLECTION",
            ["a$b", "system.users", ".a", "a.", "a..b"],
            "must be a collection name: without",
        ),
        ("SOURCE_COLLECTION", ["clientsync_state"], "must be another collection: clientsync_state is where"),
        ("MIRROR_COLLECTION", ["clientsync_state"], "must be another collection: clientsync_state is where"),
        ("ANON_FIELDS", ["email,_id"], "'_id': _id cannot be anonymised"),
        ("ANON_FIELDS", ["email,,name", ","], "'': a part of the path is empty"),
        ("ANON_FIELDS", ["name,name"], "'name' is named twice"),
        ("ANON_FIELDS", ["address,address.city"], "'address' already covers 'address.city'"),
        ("STATE_DIR", ["~/state"], "must be a path written out in full"),
        (
            "VERIFY_EVERY",
            [
                "soon",
                "15",
                "900000",
                "0s",
                "31d",
                "1d12h",
                "-1h",
                "1.5h",
                "6 h",
                "6H",
                "1w",
                "h",
                "9999999999s",
            ],
            "must be a duration from 1s to 30d, such as 15m, 6h or 1d",
        ),
        ("VERIFY_REPAIR", ["maybe", "2"], "must be true or false"),
        ("METRICS_ADDR", [":80", "[]:80", "::1:80", "[::1]", "a b:80"], "must be host:port"),
        ("METRICS_ADDR", ["0", "65536", "localhost:", "localhost:http", "on"], "must end with a port"),
    ],
)
def test_a_word_must_be_one_that_is_allowed(name: str, values: list[str], must: str) -> None:
    for value in values:
        (problem,) = problems_of({name: value})
        assert problem.startswith(f"{name}={value!r} in the environment: {must}")


def test_a_wrong_value_in_the_env_file_is_told_with_the_file() -> None:
    Path(".env").write_text("SYNC_FLUSH_MS=soon\n")

    (problem,) = problems_of({})

    assert problem.startswith("SYNC_FLUSH_MS='soon' in .env: must be")


@pytest.mark.parametrize("value", ["two\nlines", "a\tb", "nul\0", "\udcff"])
def test_an_unprintable_character_is_refused(value: str) -> None:
    (problem,) = problems_of({"MONGO_DB": value})

    assert problem.startswith("MONGO_DB in the environment: a line break or another unprintable character")


def test_a_batch_cannot_have_more_customers_at_least_than_at_most() -> None:
    assert problems_of({"FAKER_BATCH_MIN": "11"}) == ["FAKER_BATCH_MIN=11 is more than FAKER_BATCH_MAX=10"]


def test_the_mirror_cannot_be_the_source() -> None:
    (problem,) = problems_of({"MIRROR_COLLECTION": "customers"})

    assert problem.startswith("SOURCE_COLLECTION and MIRROR_COLLECTION are both 'customers': the mirror must")


@pytest.mark.parametrize("name", ["SOURCE_COLLECTION", "MIRROR_COLLECTION"])
def test_database_and_collection_together_have_a_bound(name: str) -> None:
    (problem,) = problems_of({name: "x" * 245})

    assert problem == f"{name}: with MONGO_DB in front it must have at most 255 bytes"


@pytest.mark.parametrize("instance", ["", ".hidden", "a/b", "a b", "é", "x" * 65, "a\n"])
def test_an_instance_has_a_plain_name(instance: str) -> None:
    (problem,) = problems_of({}, instance=instance)

    assert problem.startswith(f"--instance {instance!r}: must be 1 to 64 letters, digits")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("SYNC_BATCHSIZE", "did you mean SYNC_BATCH_SIZE?"),
        ("FAKER_BATCH_MAXIMUM", "did you mean FAKER_BATCH_MAX?"),
        ("ANON_FIELD", "did you mean ANON_FIELDS?"),
        ("SYNC_BATCH_SIZE_FILE", "did you mean SYNC_BATCH_SIZE?"),
        ("FAKER_XQZJQWVYX", "remove it, or see .env.example"),
    ],
)
def test_a_misspelt_setting_is_refused_with_a_hint_wherever_it_stands(name: str, hint: str) -> None:
    in_environment = problems_of({name: "s3cret"})
    Path(".env").write_text(f"{name}=s3cret\n")
    in_file = problems_of({})

    assert in_environment == [f"{name} in the environment: no such setting; {hint}"]
    assert in_file == [f"{name} in .env: no such setting; {hint}"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("LOG_LEVL", "LOG_LEVEL"),
        ("STATE_DIRS", "STATE_DIR"),
        ("METRIC_ADDR", "METRICS_ADDR"),
        ("MIRROR_COLECTION", "MIRROR_COLLECTION"),
        ("HANG_TIMEOUT", "HANG_TIMEOUT_MS"),
    ],
)
def test_any_name_that_is_like_a_setting_is_refused_in_the_env_file(name: str, meant: str) -> None:
    Path(".env").write_text(f"{name}=1\n")

    assert problems_of({}) == [f"{name} in .env: no such setting; did you mean {meant}?"]


def test_names_of_other_programs_are_nobodys_mistake() -> None:
    others = ("STATE_DIRECTORY", "POSTGRES_DB", "LOG_FILE", "GRAFANA_PASSWORD", "MONGO_INITDB_ROOT_USERNAME")
    Path(".env").write_text("".join(f"{name}=1\n" for name in others))

    settings = load(None, HOME | dict.fromkeys(("LOG_LEVL", *others), "1"), instance="default")

    assert settings.log_level == "INFO"


def test_a_misspelt_mongo_setting_is_refused_in_the_env_file() -> None:
    Path(".env").write_text("MONGO_URL=mongodb://user:s3cret@db/\n")

    assert problems_of({}) == ["MONGO_URL in .env: no such setting; did you mean MONGO_URI?"]


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://user:s3cret@db:port/",
        "s3cret",
        "mongodb://user:s3@cret@db",
        "mongodb://user:s3cret@db/?x=1",
    ],
)
def test_a_wrong_uri_is_refused_without_being_shown(uri: str, tmp_path: Path) -> None:
    (tmp_path / "uri").write_text(uri)

    for name, value in (("MONGO_URI", uri), ("MONGO_URI_FILE", str(tmp_path / "uri"))):
        (problem,) = problems_of({name: value})
        assert problem.startswith(name)
        assert "cret@" not in problem
        assert "s3cret" not in problem


def test_a_uri_in_the_wrong_place_is_not_shown_either() -> None:
    for name in (
        "MONGO_DB",
        "SOURCE_COLLECTION",
        "LOG_LEVEL",
        "SYNC_LEASE_MS",
        "ANON_FIELDS",
        "MONGO_URI_FILE",
    ):
        (problem,) = problems_of({name: "mongodb://user:s3cret@db..$/"})
        assert problem.startswith(f"{name} in the environment: ")
        assert "s3cret" not in problem


@pytest.mark.parametrize("name", ["MONGO_URI", "ANON_KEY"])
def test_a_secret_cannot_be_given_twice(name: str) -> None:
    Path("secret").write_text("mongodb://s3cret-s3cret")
    Path(".env").write_text(f"{name}_FILE=secret\n")

    assert problems_of({name: "mongodb://s3cret-s3cret"}) == [
        f"{name} and {name}_FILE are both set; keep one of them"
    ]


@pytest.mark.parametrize("name", ["MONGO_URI_FILE", "ANON_KEY_FILE"])
def test_a_secret_file_must_be_there_and_hold_something(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")

    def reason(value: Path) -> str:
        (problem,) = problems_of({name: str(value)})
        return problem.removeprefix(f"{name}={str(value)!r} in the environment: ")

    assert reason(tmp_path / "absent") == "No such file or directory"
    assert reason(tmp_path) == "Is a directory"
    assert reason(tmp_path / "empty") == "the file is empty"


def test_a_uri_file_must_be_text(tmp_path: Path) -> None:
    (tmp_path / "uri").write_bytes(b"mongodb://s3cret\xff")

    (problem,) = problems_of({"MONGO_URI_FILE": str(tmp_path / "uri")})

    assert problem.endswith("in the environment: the file is not UTF-8 text")


@pytest.mark.parametrize("name", ["ANON_KEY", "ANON_KEY_FILE"])
def test_an_empty_key_is_refused_instead_of_going_without_one(name: str) -> None:
    assert problems_of({name: ""}) == [
        f"{name} in the environment: is empty; give one, or remove it to go without a key"
    ]


def test_a_short_or_blank_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret\n")

    (in_environment,) = problems_of({"ANON_KEY": "s3cret-s3cret-0"})
    (in_file,) = problems_of({"ANON_KEY_FILE": str(tmp_path / "key")})
    (blank,) = problems_of({"ANON_KEY": " " * 20})

    assert in_environment.startswith("ANON_KEY in the environment: must have at least 16 bytes")
    assert in_file.startswith("ANON_KEY_FILE=")
    assert "must have at least 16 bytes" in in_file
    assert blank == "ANON_KEY in the environment: the key is empty"
    assert "s3cret" not in in_environment + in_file


def test_all_problems_are_told_at_once() -> None:
    Path(".env").write_text("SYNC_BATCHSIZE=5\nSYNC_FLUSH_MS=0\nMIRROR_COLLECTION=customers\n")

    problems = problems_of({"FAKER_BATCH_MIN": "x", "MONGO_URI": "x", "ANON_KEY": ""}, instance="a b")

    assert [problem.split("=")[0].split()[0] for problem in problems] == [
        "SYNC_BATCHSIZE",
        "ANON_KEY",
        "MONGO_URI",
        "FAKER_BATCH_MIN",
        "SYNC_FLUSH_MS",
        "SOURCE_COLLECTION",
        "--instance",
    ]
