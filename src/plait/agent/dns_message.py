"""DNS packets: what is asked, and how it is answered.  Pure: bytes in, bytes out."""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack, unpack_from

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.rcode import FORMERR, NOERROR, NOTIMP, NXDOMAIN, REFUSED, SERVFAIL, Rcode
from msgspec import Struct

__all__ = ["FORMERR", "NOERROR", "NOTIMP", "NXDOMAIN", "REFUSED", "SERVFAIL", "Rcode"]

A, AAAA = dns.rdatatype.A, dns.rdatatype.AAAA
TTL = 30
"""Seconds for which an answer may be kept: Istio's."""

_HEADER = 12
_PLAIN_UDP = 512  # bytes that a client takes which says nothing of it
_LONGEST = 65535


class Question(Struct, frozen=True, kw_only=True):
    """A query with its one question.

    Attributes:
        name: in lower case and without the last dot; the root is empty.
        type: the record type that is asked for.
        packet: as it came, to be passed on.
    """

    name: str
    type: dns.rdatatype.RdataType
    packet: bytes
    message: dns.message.Message


def parse(packet: bytes) -> Question | bytes:
    """What a packet asks; of a packet that asks nothing, what to answer.  Empty: nothing at all.

    Too short for a header, or itself an answer: silence.  Else the refusal that fits it.
    """
    if len(packet) < _HEADER or packet[2] & 0x80:
        return b""
    if (packet[2] >> 3) & 0xF != dns.opcode.QUERY:
        return _refusal(packet, NOTIMP)
    try:
        message = dns.message.from_wire(packet)
    except (dns.exception.DNSException, ValueError):
        return _refusal(packet, FORMERR)
    if len(message.question) != 1:
        return _refusal(packet, FORMERR)
    asked = message.question[0]
    if asked.rdclass != dns.rdataclass.IN:
        return _refusal(packet, REFUSED)
    name = asked.name.to_text(omit_final_dot=True).lower()
    name = "" if name == "." else name
    return Question(name=name, type=asked.rdtype, packet=packet, message=message)


def _refusal(packet: bytes, code: Rcode) -> bytes:
    """An answer that repeats nothing of a packet but its number and its kind."""
    (number,) = unpack_from("!H", packet)
    kept = packet[2] & 0x79  # opcode, and whether recursion is wanted
    return pack("!HBBHHHH", number, 0x80 | kept, 0x80 | code, 0, 0, 0, 0)


def reply(
    question: Question,
    addresses: Sequence[str] = (),
    *,
    alias: str = "",
    code: Rcode = NOERROR,
    stream: bool = False,
) -> bytes:
    """The answer that carries addresses of the type that was asked for.

    `alias` is the name that has them, where that is another.  What is too long for the client
    over UDP is cut off and marked: it comes back over TCP.
    """
    message = dns.message.make_response(question.message, recursion_available=True)
    try:
        message.answer = _records(question, addresses, alias)
    except dns.exception.DNSException:  # what the table says is no name, or no address
        code = SERVFAIL
    message.set_rcode(code)
    limit = _LONGEST if stream else max(question.message.payload, _PLAIN_UDP)
    return message.to_wire(max_size=limit, prefer_truncation=True)


def _records(question: Question, addresses: Sequence[str], alias: str) -> list[dns.rrset.RRset]:
    name = question.message.question[0].name
    found = []
    if alias:
        target = dns.name.from_text(alias)
        found.append(dns.rrset.from_text(name, TTL, "IN", "CNAME", target.to_text()))
        name = target
    if addresses:
        found.append(dns.rrset.from_text_list(name, TTL, "IN", question.type, addresses))
    return found


def renamed(question: Question, name: str) -> bytes | None:
    """The same question about another name; None: DNS has no such names."""
    try:
        message = dns.message.make_query(name, question.type, use_edns=0)
    except dns.exception.DNSException:
        return None
    message.id = question.message.id
    return message.to_wire()


def addresses(packet: bytes, wanted: dns.rdatatype.RdataType) -> tuple[str, ...]:
    """What an answer says that is of the type `wanted`, of whatever name; none if it is broken."""
    try:
        message = dns.message.from_wire(packet)
    except (dns.exception.DNSException, ValueError):
        return ()
    return tuple(
        one.to_text() for found in message.answer if found.rdtype == wanted for one in found
    )
