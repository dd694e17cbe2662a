"""Requests for certificates as bytes: the messages of Istio's certificate service.

There are no generated classes for its two small messages, so they are written and read here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from plait.xds import protos
from plait.xds.resource import varint
from plait.xds.wire import Malformed

METHOD: Final = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
"""The method that signs; unary."""
IDENTITY: Final = "ImpersonatedIdentity"
"""Key of the metadata that names the SPIFFE id which an agent of a machine wants."""
ACCOUNT: Final = "Account"
"""Key of the metadata that ends the SPIFFE id that a bearer of a token expects to get."""
POD: Final = "Pod"
"""Key of the metadata that names the Pod for which it is wanted, as ``namespace/name``."""
PROXY: Final = "Proxy"
"""Key of the metadata that names the proxy, by its node id."""
CREDENTIAL: Final = "authorization"
"""Key of the call's own metadata for ``Bearer TOKEN``."""
LONGEST: Final = 64 * 1024
"""Bytes of a request, at most."""

_NUMBER, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_CSR, _SECONDS, _METADATA, _CHAIN = 1, 3, 4, 1  # fields
_WIDTHS: Final = MappingProxyType({_FIXED64: 8, _FIXED32: 4})
_LONGEST_NUMBER = 10  # bytes


class CertificateRequest(Struct, frozen=True, kw_only=True):
    """What an agent asks for.

    Attributes:
        csr: in PEM.
        seconds: how long the certificate shall be valid; 0: as long as is usual.
        metadata: texts by key; what is no text is left out.
    """

    csr: str
    seconds: int = 0
    metadata: Mapping[str, str] = {}


def request(csr: str, seconds: int, metadata: Mapping[str, str]) -> bytes:
    """A request as bytes; `seconds` 0: as long as is usual."""
    struct = protos.Struct()
    for key, value in metadata.items():
        struct.fields[key].string_value = value
    number = varint(_SECONDS << 3 | _NUMBER) + varint(seconds) if seconds else b""
    return _text(_CSR, csr.encode()) + number + _text(_METADATA, protos.encode(struct))


def read_request(data: bytes) -> CertificateRequest:
    """The request in these bytes; unknown fields are stepped over.

    Raises:
        Malformed: there is none.
    """
    csr, seconds, metadata = "", 0, b""
    for field, value in _fields(data):
        match field:
            case 1:
                csr = _decoded(value)
            case 3:
                seconds = _whole(value)
            case 4:
                metadata += _raw(value)  # what is repeated is merged
            case _:
                pass
    return CertificateRequest(csr=csr, seconds=seconds, metadata=_texts(metadata))


def response(chain: Sequence[str]) -> bytes:
    """An answer as bytes; `chain` in PEM: the leaf, intermediates, the root."""
    return b"".join(_text(_CHAIN, one.encode()) for one in chain)


def read_response(data: bytes) -> tuple[str, ...]:
    """The chain in an answer.

    Raises:
        Malformed: there is none.
    """
    return tuple(_decoded(value) for field, value in _fields(data) if field == _CHAIN)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Each field of a message by number: a number, or bytes; of fixed width, its bytes."""
    place = 0
    while place < len(data):
        tag, place = _number(data, place)
        field, kind = tag >> 3, tag & 7
        if not field:
            raise Malformed("field 0 is not allowed")
        if kind == _NUMBER:
            number, place = _number(data, place)
            yield field, number
            continue
        if kind == _BYTES:
            length, place = _number(data, place)
        elif kind in _WIDTHS:
            length = _WIDTHS[kind]
        else:
            raise Malformed(f"field {field} is of an unknown wire type")
        if place + length > len(data):
            raise Malformed("truncated message")
        yield field, data[place : place + length]
        place += length


def _number(data: bytes, place: int) -> tuple[int, int]:
    """A base-128 integer at `place`, and the place behind it."""
    value = 0
    for index, byte in enumerate(data[place : place + _LONGEST_NUMBER]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, place + index + 1
    raise Malformed("truncated message, or a number that is too long")


def _whole(value: int | bytes) -> int:
    if isinstance(value, bytes) or value >> 63:
        raise Malformed("the validity is not a positive number of seconds")
    return value


def _raw(value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    raise Malformed("a number stands where a text is expected")


def _decoded(value: int | bytes) -> str:
    try:
        return _raw(value).decode()
    except UnicodeDecodeError as error:
        raise Malformed("a text is not UTF-8") from error


def _texts(data: bytes) -> Mapping[str, str]:
    try:
        fields = protos.Struct.FromString(data).fields
    except protos.DecodeError as error:
        raise Malformed("the metadata is not a Struct") from error
    return {key: fields[key].string_value for key in fields if fields[key].string_value}


def _text(field: int, value: bytes) -> bytes:
    return varint(field << 3 | _BYTES) + varint(len(value)) + value
