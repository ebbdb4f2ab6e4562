import pytest

from supervisor.mongo_uri import UNREADABLE, check, redact

ENCODE = "in user and password, characters such as @ / ? : % must be percent-encoded"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("mongodb://localhost", "mongodb://localhost"),
        ("mongodb://h1:1,h2:2/?replicaSet=rs0", "mongodb://h1:1,h2:2/?replicaSet=rs0"),
        ("mongodb://user:s3cret@h:1/db?w=1", "mongodb://user:***@h:1/db?w=1"),
        ("mongodb://user:s3cret%40%2F%3A@h", "mongodb://user:***@h"),
        ("mongodb://user:s3cret#1@h", "mongodb://user:***@h"),
        ("mongodb://user@h/?authMechanism=MONGODB-X509", "mongodb://user@h/?authMechanism=MONGODB-X509"),
        ("mongodb://user:@h", "mongodb://user:***@h"),
        ("mongodb://h/?w=1&w=2", "mongodb://h/?w=1&w=2"),
        ("mongodb://[::1]:27017/", "mongodb://[::1]:27017/"),
        ("mongodb://%2Frun%2Fmongodb.sock", "mongodb://%2Frun%2Fmongodb.sock"),
        (
            "mongodb+srv://user:s3cret@cluster.invalid/?retryWrites=true",
            "mongodb+srv://user:***@cluster.invalid/?retryWrites=true",
        ),
        (
            "mongodb://h/?tls=true&tlsCertificateKeyFilePassword=s3cret&w=1",
            "mongodb://h/?tls=true&tlsCertificateKeyFilePassword=***&w=1",
        ),
        (
            "mongodb://h/?AUTHMECHANISMPROPERTIES=AWS_SESSION_TOKEN:s3cret&authMechanism=MONGODB-AWS",
            "mongodb://h/?AUTHMECHANISMPROPERTIES=***&authMechanism=MONGODB-AWS",
        ),
    ],
)
def test_a_right_uri_is_accepted_without_dns_and_shown_without_its_secrets(uri: str, shown: str) -> None:
    check(uri)

    assert redact(uri) == shown


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("mongodb://", "must look like mongodb://"),
        ("http://user:s3cret@h", "must look like mongodb://"),
        ("user:s3cret@h", "must look like mongodb://"),
        ("mongodb://user:s3cret@", "must look like mongodb://"),
        ("mongodb://user:s3/cret@h", "must look like mongodb://"),
        ("mongodb://user:12/s3cret@h", "must look like mongodb://"),
        ("mongodb://user:12?s3cret@h", "must look like mongodb://"),
        ("mongodb://user:s3cret@h/ ", "must look like mongodb://"),
        ("mongodb://user:s3cret@h/\n", "must look like mongodb://"),
        ("mongodb://user:s3@cret@h", ENCODE),
        ("mongodb://user:s3:cret@h", ENCODE),
        ("mongodb://user:s3cret%@h", ENCODE),
        ("mongodb://:s3cret@h", ENCODE),
        ("mongodb://user:s3cret@h:port", "the hosts must look like"),
        ("mongodb://user:s3cret@h:70000", "the hosts must look like"),
        ("mongodb://user:s3cret@h,,i", "the hosts must look like"),
        ("mongodb+srv://user:s3cret@h:1", "mongodb+srv:// takes one host name"),
        ("mongodb+srv://user:s3cret@h,i", "mongodb+srv:// takes one host name"),
        ("mongodb://user:s3cret@h/?s3cret=1", "an option after the ? is unknown"),
        ("mongodb://h/?tls=true&tlsCertificateKeyFilePassword=s3&cret", "an option after the ? is unknown"),
        ("mongodb://h/?proxyPassword=s3cret", "the option proxyPassword is not supported"),
        ("mongodb://user:s3cret@h/?tls=s3cret", "the option tls is not supported, has a wrong value"),
        ("mongodb://user:s3cret@h/?REPLICASET", "the option replicaSet is not supported, has a wrong value"),
        (
            "mongodb://h/?tlsCAFile=/s3cret",
            "the option tlsCAFile is not supported, has a wrong value or names a file",
        ),
        ("mongodb://user:s3cret@h/?tls=true&ssl=false", "its options contradict each other"),
        ("mongodb://user:s3cret@h,i/?directConnection=true", "its options do not fit the hosts"),
        ("mongodb://user:s3cret@h/a$b", "the database name after the hosts is wrong"),
    ],
)
def test_a_wrong_uri_is_refused_and_nothing_of_it_is_shown(uri: str, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        check(uri)

    assert str(caught.value).startswith(reason)
    assert "s3" not in str(caught.value)
    assert "cret" not in str(caught.value)
    assert redact(uri) == UNREADABLE


def test_where_there_is_no_uri_yet_none_is_shown() -> None:
    assert redact("") == ""
