"""Kubernetes' protobuf form of a few built-in kinds, read only.

Go programs, kubectl's ``create`` commands among them, send built-in kinds in this form and take
JSON as the answer.  The numbers are those of the published ``generated.proto`` files; fields that
are not listed are refused by name of their number, never dropped.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from plait.serve.api import status

MEDIA = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"

# A field: its name, then its type: s text, i number, b flag, y bytes, t time, q quantity,
# p number or text, or a message of the table below.  [] before it: repeated, {}: a map of texts.
Fields = Mapping[int, tuple[str, str]]

_META: Fields = {
    1: ("name", "s"),
    2: ("generateName", "s"),
    3: ("namespace", "s"),
    4: ("selfLink", "s"),
    5: ("uid", "s"),
    6: ("resourceVersion", "s"),
    7: ("generation", "i"),
    8: ("creationTimestamp", "t"),
    9: ("deletionTimestamp", "t"),
    10: ("deletionGracePeriodSeconds", "i"),
    11: ("labels", "{}s"),
    12: ("annotations", "{}s"),
    14: ("finalizers", "[]s"),
}

_MESSAGES: Mapping[str, Fields] = {
    "Meta": _META,
    "ConfigMap": {
        1: ("metadata", "Meta"),
        2: ("data", "{}s"),
        3: ("binaryData", "{}y"),
        4: ("immutable", "b"),
    },
    "Secret": {
        1: ("metadata", "Meta"),
        2: ("data", "{}y"),
        3: ("type", "s"),
        4: ("stringData", "{}s"),
        5: ("immutable", "b"),
    },
    "Namespace": {
        1: ("metadata", "Meta"),
        2: ("spec", "NamespaceSpec"),
        3: ("status", "NamespaceStatus"),
    },
    "NamespaceSpec": {1: ("finalizers", "[]s")},
    "NamespaceStatus": {1: ("phase", "s")},
    "ServiceAccount": {
        1: ("metadata", "Meta"),
        3: ("imagePullSecrets", "[]LocalReference"),
        4: ("automountServiceAccountToken", "b"),
    },
    "LocalReference": {1: ("name", "s")},
    "Service": {1: ("metadata", "Meta"), 2: ("spec", "ServiceSpec"), 3: ("status", "Empty")},
    "ServiceSpec": {
        1: ("ports", "[]ServicePort"),
        2: ("selector", "{}s"),
        3: ("clusterIP", "s"),
        4: ("type", "s"),
        5: ("externalIPs", "[]s"),
        7: ("sessionAffinity", "s"),
        8: ("loadBalancerIP", "s"),
        9: ("loadBalancerSourceRanges", "[]s"),
        10: ("externalName", "s"),
        11: ("externalTrafficPolicy", "s"),
        12: ("healthCheckNodePort", "i"),
        13: ("publishNotReadyAddresses", "b"),
        17: ("ipFamilyPolicy", "s"),
        18: ("clusterIPs", "[]s"),
        19: ("ipFamilies", "[]s"),
        20: ("allocateLoadBalancerNodePorts", "b"),
        21: ("loadBalancerClass", "s"),
        22: ("internalTrafficPolicy", "s"),
        23: ("trafficDistribution", "s"),
    },
    "ServicePort": {
        1: ("name", "s"),
        2: ("protocol", "s"),
        3: ("port", "i"),
        4: ("targetPort", "p"),
        5: ("nodePort", "i"),
        6: ("appProtocol", "s"),
    },
    "SelfSubjectReview": {1: ("metadata", "Meta"), 2: ("status", "ReviewStatus")},
    "SelfSubjectAccessReview": {
        1: ("metadata", "Meta"),
        2: ("spec", "AccessReviewSpec"),
        3: ("status", "Empty"),
    },
    "AccessReviewSpec": {
        1: ("resourceAttributes", "ResourceAttributes"),
        2: ("nonResourceAttributes", "NonResourceAttributes"),
    },
    "ResourceAttributes": {
        1: ("namespace", "s"),
        2: ("verb", "s"),
        3: ("group", "s"),
        4: ("version", "s"),
        5: ("resource", "s"),
        6: ("subresource", "s"),
        7: ("name", "s"),
    },
    "NonResourceAttributes": {1: ("path", "s"), 2: ("verb", "s")},
    "SelfSubjectRulesReview": {
        1: ("metadata", "Meta"),
        2: ("spec", "RulesReviewSpec"),
        3: ("status", "Empty"),
    },
    "RulesReviewSpec": {1: ("namespace", "s")},
    "ReviewStatus": {1: ("userInfo", "Empty")},
    "Deployment": {
        1: ("metadata", "Meta"),
        2: ("spec", "DeploymentSpec"),
        3: ("status", "Empty"),
    },
    "DeploymentSpec": {
        1: ("replicas", "i"),
        2: ("selector", "Selector"),
        3: ("template", "Template"),
        4: ("strategy", "Strategy"),
        5: ("minReadySeconds", "i"),
        6: ("revisionHistoryLimit", "i"),
        7: ("paused", "b"),
        9: ("progressDeadlineSeconds", "i"),
    },
    "Strategy": {1: ("type", "s")},
    "Selector": {1: ("matchLabels", "{}s")},
    "Template": {1: ("metadata", "Meta"), 2: ("spec", "PodSpec")},
    "PodSpec": {
        2: ("containers", "[]Container"),
        3: ("restartPolicy", "s"),
        4: ("terminationGracePeriodSeconds", "i"),
        6: ("dnsPolicy", "s"),
        7: ("nodeSelector", "{}s"),
        8: ("serviceAccountName", "s"),
        9: ("serviceAccount", "s"),
        10: ("nodeName", "s"),
        11: ("hostNetwork", "b"),
        14: ("securityContext", "Empty"),
        19: ("schedulerName", "s"),
    },
    "Container": {
        1: ("name", "s"),
        2: ("image", "s"),
        3: ("command", "[]s"),
        4: ("args", "[]s"),
        5: ("workingDir", "s"),
        6: ("ports", "[]ContainerPort"),
        7: ("env", "[]EnvVar"),
        8: ("resources", "Empty"),
        13: ("terminationMessagePath", "s"),
        14: ("imagePullPolicy", "s"),
        20: ("terminationMessagePolicy", "s"),
    },
    "ContainerPort": {
        1: ("name", "s"),
        2: ("hostPort", "i"),
        3: ("containerPort", "i"),
        4: ("protocol", "s"),
        5: ("hostIP", "s"),
    },
    "EnvVar": {1: ("name", "s"), 2: ("value", "s")},
    "IntOrString": {1: ("type", "i"), 2: ("int", "i"), 3: ("str", "s")},
    "Time": {1: ("seconds", "i"), 2: ("nanos", "i")},
    "Empty": {},
}

_EXPLICIT = frozenset({"replicas", "automountServiceAccountToken"})
"""Fields whose zero is not the same as their absence."""

_TYPE: Fields = {1: ("apiVersion", "s"), 2: ("kind", "s")}
_UNKNOWN = 2  # number of the raw object in the envelope; 1 is its type


class _WrongError(Exception):
    """The bytes are no such message."""


def decode(raw: bytes) -> dict[str, Any]:
    """The JSON form of an object.

    Raises:
        StatusError: 400 for bytes that are none; 415 for kinds and fields that are not known.
    """
    if not raw.startswith(_MAGIC):
        raise status.bad_request("the body is not Kubernetes' protobuf form")
    try:
        parts = {number: value for number, _, value in _parts(raw[len(_MAGIC) :])}
        head = _message(_bytes(parts.get(1, b"")), _TYPE)
        kind = str(head.get("kind", ""))
        if not kind[:1].isupper() or "metadata" not in {n for n, _ in _fields(kind).values()}:
            raise status.unsupported(["application/json", "application/yaml"])
        return {**head, **_message(_bytes(parts.get(_UNKNOWN, b"")), _fields(kind))}
    except (_WrongError, IndexError, UnicodeDecodeError) as error:
        raise status.bad_request(f"the body is not valid protobuf: {error}") from error


def _fields(kind: str) -> Fields:
    return _MESSAGES.get(kind, {})


def _parts(raw: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Number, wire type and value of each field."""
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(raw, at)
            yield number, wire, value
        elif wire == 2:
            size, at = _varint(raw, at)
            if at + size > len(raw):
                raise _WrongError("it is cut off")
            yield number, wire, raw[at : at + size]
            at += size
        else:
            raise _WrongError(f"wire type {wire} of field {number} is not in use")


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise _WrongError("a number is too long")


def _message(raw: bytes, fields: Fields) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, _, value in _parts(raw):
        if number not in fields:
            if value in (b"", 0):
                continue  # Go writes empty messages and zeros too
            raise status.StatusError(
                415,
                "UnsupportedMediaType",
                f"field {number} is not read in protobuf form: send application/json",
            )
        name, kind = fields[number]
        if kind.startswith("[]"):
            found.setdefault(name, []).append(_value(kind[2:], value))
        elif kind.startswith("{}"):
            entry = _message(_bytes(value), {1: ("key", "s"), 2: ("value", kind[2:])})
            found.setdefault(name, {})[entry.get("key", "")] = entry.get("value", "")
        else:
            found[name] = _value(kind, value)
    return {
        name: part
        for name, part in found.items()
        if part not in ("", None, {}, 0) or (name in _EXPLICIT and part is not None)
    }


def _value(kind: str, value: int | bytes) -> Any:
    match kind:
        case "s":
            return _bytes(value).decode()
        case "y":
            return base64.b64encode(_bytes(value)).decode()
        case "i":
            return _signed(value)
        case "b":
            return bool(value)
        case _:
            return _composed(kind, _bytes(value))


def _composed(kind: str, value: bytes) -> Any:
    match kind:
        case "p":
            either = _message(value, _MESSAGES["IntOrString"])
            return either.get("str") or either.get("int", 0)
        case "t":
            seconds = _message(value, _MESSAGES["Time"]).get("seconds", 0)
            if seconds <= 0:
                return None  # Go's zero time: not set
            return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        case _:
            return _message(value, _fields(kind))


def _signed(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise _WrongError("a number was expected")
    return value - (1 << 64) if value >= 1 << 63 else value


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise _WrongError("bytes were expected")
    return value
