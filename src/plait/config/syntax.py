"""Forms of names, hosts, ports, patterns and headers; each check yields what is wrong.

The forms are those that Istio's and Kubernetes' own validation asks for; what Envoy would refuse
is refused too.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import re2

from plait.config import formats
from plait.config.document import Path
from plait.config.finding import Finding, invalid, shown

Findings = Iterator[Finding]

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_HOST_LABEL: Final = re.compile(r"[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?")
_WILD_LABEL: Final = re.compile(r"\*|\*?-?[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?")
_KEY_NAME: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_VALUE: Final = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_HEADER: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_LONGEST_HOST: Final = 255
_LONGEST_NAME: Final = 253
_PORTS: Final = range(1, 65536)
_MILLISECOND: Final = 0.001
_LARGEST_PROGRAM: Final = 32768
"""Of an expression, as the bootstrap lets Envoy take it."""
_LONGEST_VALUE: Final = 16384  # bytes of a header that Envoy sets
_QUIET: Final = re2.Options()
_QUIET.log_errors = False

PROTOCOLS: Final = (
    "GRPC GRPC-WEB HTTP HTTP2 HTTP_PROXY HTTPS MONGO MYSQL REDIS TCP TLS UDP".split()  # noqa: SIM905
)


def label(value: str, path: Path, what: str) -> Findings:
    """A name of one part: 63 lower-case letters, digits and dashes."""
    if not _LABEL.fullmatch(value):
        hint = "up to 63 lower-case letters, digits and -, a letter or digit at both ends"
        yield invalid(path, f"{shown(value)} is no {what}", hint)


def subdomain(value: str, path: Path) -> Findings:
    """A name of an object: labels with dots between."""
    if len(value) > _LONGEST_NAME or not _SUBDOMAIN.fullmatch(value):
        hint = "up to 253 lower-case letters, digits, - and ., a letter or digit at both ends"
        yield invalid(path, f"{shown(value)} is no name", hint)


def labels(values: Mapping[str, str], path: Path) -> Findings:
    """Keys and values of labels."""
    for key, value in values.items():
        yield from _label_key(key, (*path, key))
        if not _VALUE.fullmatch(value):
            hint = "up to 63 letters, digits, -, _ and ., a letter or digit at both ends"
            yield invalid((*path, key), f"{shown(value)} is no value of a label", hint)


def annotation_keys(values: Mapping[str, str], path: Path) -> Findings:
    """Keys of annotations; their values are free."""
    for key in values:
        yield from _label_key(key, (*path, key), lower=True)


def port(number: int, path: Path) -> Findings:
    """The number of a port."""
    if number not in _PORTS:
        yield invalid(path, f"{number} is no port", "a number from 1 to 65535")


def protocol(value: str, path: Path) -> Findings:
    """A protocol that Istio knows; empty is one to be detected."""
    if value and value.upper() not in PROTOCOLS:
        yield invalid(path, f"{shown(value)} is no protocol", f"one of {', '.join(PROTOCOLS)}")


def host(value: str, path: Path, *, wildcard: bool = True) -> Findings:
    """A host name: labels with dots between, the first of them perhaps a wildcard."""
    if not value:
        yield invalid(path, "the host is missing", "a name such as reviews or reviews.demo.com")
        return
    first, *rest = value.removesuffix(".").split(".")
    good = (_WILD_LABEL if wildcard else _HOST_LABEL).fullmatch(first)
    if not good or len(value) > _LONGEST_HOST or not all(map(_HOST_LABEL.fullmatch, rest)):
        hint = "letters, digits, - and ."
        hint += ", * in front only" if wildcard else "; a wildcard is not allowed here"
        yield invalid(path, f"{shown(value)} is no host name", hint)


def spelled_out(value: str, path: Path) -> Findings:
    """A host whose wildcard, if there is one, is a whole label: Envoy knows no other for TLS."""
    if value.startswith("*") and value != "*" and not value.startswith("*."):
        yield invalid(path, f"{shown(value)} is a partial wildcard", "such as *.example.com")


def is_ip(value: str) -> bool:
    """Whether it is an IP address."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return "%" not in value  # no zone


def is_cidr(value: str) -> bool:
    """Whether it is an IP address, or one with the length of a prefix."""
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return False
    return "%" not in value


def ip(value: str, path: Path) -> Findings:
    """An IP address."""
    if not is_ip(value):
        yield invalid(path, f"{shown(value)} is no IP address", "such as 10.0.0.1 or fd00::1")


def cidr(value: str, path: Path) -> Findings:
    """An IP address or a range of them."""
    if not is_cidr(value):
        hint = "such as 10.0.0.1 or 10.0.0.0/16"
        yield invalid(path, f"{shown(value)} is no IP address or range", hint)


def regex(pattern: str, path: Path) -> Findings:
    """An expression that Envoy's RE2 can read."""
    if not pattern:
        yield invalid(path, "the expression is empty", 'write ".*" for anything')
        return
    try:
        size = re2.compile(pattern, _QUIET).programsize
    except (re2.error, UnicodeError) as error:
        told = error.args[0] if error.args else ""
        reason = told.decode(errors="replace") if isinstance(told, bytes) else str(told)
        hint = "RE2's syntax: no look-around, no back-references"
        yield invalid(path, f"{shown(pattern)} is no expression of RE2: {reason}", hint)
        return
    if size > _LARGEST_PROGRAM:
        hint = f"RE2 makes a program of {size} steps of it, Envoy takes {_LARGEST_PROGRAM}"
        yield invalid(path, f"{shown(pattern)} is too large", hint)


def header(name: str, path: Path, *, pseudo: Sequence[str] = ()) -> Findings:
    """Name of a header, or one of the allowed pseudo headers."""
    if name.lower() in pseudo:
        return
    if not _HEADER.fullmatch(name):
        hint = "letters, digits and -; pseudo headers cannot be named here"
        yield invalid(path, f"{shown(name)} is no name of a header", hint)


def header_value(value: str, path: Path) -> Findings:
    """Value of a header, with Envoy's commands such as ``%DOWNSTREAM_REMOTE_ADDRESS%``."""
    yield from one_line(value, path)
    if (problem := formats.problem(value)) is not None:
        yield invalid(path, *problem)


def one_line(value: str, path: Path) -> Findings:
    """A text that stands in a header."""
    if any(sign in value for sign in "\r\n\0"):
        yield invalid(path, f"{shown(value)} has more than one line", "write one line")
    if len(value.encode(errors="replace")) > _LONGEST_VALUE:
        yield invalid(path, f"{shown(value)} is too long", f"at most {_LONGEST_VALUE} bytes")


def duration(value: float | None, path: Path, *, zero: bool = False) -> Findings:
    """A duration of a millisecond or more; `zero`: or none at all."""
    if value is None or value >= _MILLISECOND or (zero and value == 0):
        return
    yield invalid(path, "the duration is too short", "1ms or more" + (", or 0s" if zero else ""))


def at_least(least: int, value: int | None, path: Path) -> Findings:
    """A number that is not less."""
    if value is not None and value < least:
        yield invalid(path, f"{value} is too small", f"{least} or more")


def percent(value: float | None, path: Path) -> Findings:
    """A share."""
    if value is not None and not 0 <= value <= 100:
        yield invalid(path, f"{value} is no percentage", "a number from 0 to 100")


def status(code: int, path: Path, least: int = 200) -> Findings:
    """A status of HTTP."""
    if not least <= code <= 599:
        yield invalid(path, f"{code} is no status of HTTP here", f"a number from {least} to 599")


def exclusive(
    spec: Any, fields: Mapping[str, str], path: Path, *, needed: bool = False
) -> Findings:
    """At most one of some fields, exactly one if `needed`.

    `fields` is attribute → name in the document; a field counts if it is not empty or zero.
    """
    used = [name for attribute, name in fields.items() if _is_set(getattr(spec, attribute))]
    allowed = ", ".join(fields.values())
    if len(used) > 1:
        message = f"{' and '.join(used)} cannot be used together"
        yield invalid((*path, used[1]), message, f"keep one of {allowed}")
    elif needed and not used:
        yield invalid(path, "there is nothing to do", f"one of {allowed} is needed")


def unique(values: Iterable[tuple[Hashable, Path]], what: str) -> Findings:
    """No value twice."""
    seen: set[Hashable] = set()
    for value, path in values:
        if value in seen:
            yield invalid(path, f"{what} {value} is there twice", "every one must differ")
        seen.add(value)


def export_to(values: Sequence[str], namespace: str, path: Path) -> Findings:
    """Namespaces that may see an object: ``.``, ``*`` or ``~`` alone, or names."""
    own = ((namespace if value == "." else value, (*path, i)) for i, value in enumerate(values))
    yield from unique(own, "namespace")
    for i, value in enumerate(values):
        if value in ("*", "~"):
            if len(values) > 1:
                yield invalid((*path, i), f'"{value}" says all there is', "remove the others")
        elif value != ".":
            yield from label(value, (*path, i), "namespace")


def _is_set(value: Any) -> bool:
    return value is not None and value not in ((), {}, "", 0)


def _label_key(key: str, path: Path, *, lower: bool = False) -> Findings:
    prefix, slash, name = key.rpartition("/")
    good_prefix = not slash or (
        len(prefix) <= _LONGEST_NAME
        and _SUBDOMAIN.fullmatch(prefix.lower() if lower else prefix) is not None
    )
    if not good_prefix or not _KEY_NAME.fullmatch(name):
        hint = "name or prefix/name; up to 63 letters, digits, -, _ and ."
        yield invalid(path, f"{shown(key)} is no key of a label or annotation", hint)
