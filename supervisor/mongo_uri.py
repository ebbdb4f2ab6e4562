"""Checks a MongoDB connection string and shows it, without its secrets and without a look-up in the DNS."""

import re
import warnings
from collections.abc import Callable

from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri, parse_userinfo, split_hosts, split_options
from pymongo.uri_parser_shared import URI_OPTIONS

FORM = "mongodb://[user:password@]host[:port][,host…]/[?options]"
ENCODING = "in user and password, characters such as @ / ? : % must be percent-encoded"
UNREADABLE = "(not a MongoDB connection string)"

_URI = re.compile(
    r"(?P<scheme>mongodb(?P<srv>\+srv)?://)"
    r"(?:(?P<user>[^/?]*)@)?(?P<hosts>[^/?@]+)(?P<database>/[^?@]*)?(?:\?(?P<options>[^@]*))?"
)
_SECRET_OPTION = re.compile(r"(?i)\b(authMechanismProperties|[a-z]*password)=[^&]*")
_REFUSALS = (PyMongoError, ValueError, TypeError, OSError)


def check(uri: str) -> None:
    """Raise ValueError, with a text that quotes nothing of it but names of options, unless `uri` parses."""
    parts = _URI.fullmatch(uri)
    if parts is None or not uri.isprintable() or " " in uri:
        raise ValueError(f"must look like {FORM}; {ENCODING}")
    user, hosts, options = parts["user"], parts["hosts"], parts["options"]
    if user is not None and _refused(parse_userinfo, user):
        raise ValueError(ENCODING)
    if _refused(split_hosts, hosts):
        raise ValueError("the hosts must look like host[:port],host[:port], with ports from 1 to 65535")
    if parts["srv"] and ("," in hosts or ":" in hosts):
        raise ValueError("mongodb+srv:// takes one host name without a port")
    if _refused(parse_uri, f"mongodb://{hosts}{parts['database'] or ''}"):
        raise ValueError("the database name after the hosts is wrong")
    if options and _refused(split_options, options):
        raise ValueError(_why_refused(options))
    if not parts["srv"] and _refused(parse_uri, uri):  # parse_uri would ask the DNS for +srv
        raise ValueError("its options do not fit the hosts")


def redact(uri: str) -> str:
    """Return `uri` without password and secret options, and nothing at all of one that does not parse.

    Empty (the embedded server is not known yet) stays empty.
    """
    if not uri:
        return ""
    try:
        check(uri)
    except ValueError:
        return UNREADABLE
    parts = _URI.fullmatch(uri)
    if parts is None:
        return UNREADABLE
    user, colon, _ = (parts["user"] or "").partition(":")
    shown_user = f"{user}{':***' if colon else ''}@" if user else ""
    options = _SECRET_OPTION.sub(r"\1=***", parts["options"] or "")
    return (
        f"{parts['scheme']}{shown_user}{parts['hosts']}{parts['database'] or ''}{options and f'?{options}'}"
    )


def _refused(parse: Callable[[str], object], text: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated and repeated options still work
        try:
            parse(text)
        except _REFUSALS:
            return True
    return False


def _why_refused(options: str) -> str:
    """Return what is wrong with `options`; names that pymongo does not know may be a piece of a secret."""
    names = {option.lower(): option for option in URI_OPTIONS}
    wrong = [option for option in options.split("&") if _refused(split_options, option)]
    known = [names[name] for option in wrong if (name := option.partition("=")[0].lower()) in names]
    if known:
        return (
            f"the option {known[0]} is not supported, has a wrong value or names a file that cannot be read"
        )
    if wrong:
        return "an option after the ? is unknown"
    return "its options contradict each other"
