"""DNS packets."""

from __future__ import annotations

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.agent import dns_message
from plait.agent.dns_message import Question

NAME = "Reviews.demo.svc.cluster.local."


def asked(name=NAME, kind="A", **options) -> Question:
    found = dns_message.parse(dns.message.make_query(name, kind, **options).to_wire())
    assert isinstance(found, Question)
    return found


def test_a_name_is_read_in_lower_case_and_without_its_last_dot():
    found = asked()

    assert (found.name, found.type) == ("reviews.demo.svc.cluster.local", dns.rdatatype.A)


def test_the_root_is_an_empty_name():
    assert asked(".", "NS").name == ""


def test_an_answer_repeats_the_question_as_it_was_spelled():
    question = asked()

    found = dns.message.from_wire(dns_message.reply(question, ["10.96.0.1"]))

    assert found.id == question.message.id
    assert found.question == question.message.question
    assert found.answer[0].to_text() == f"{NAME} 30 IN A 10.96.0.1"
    assert found.flags & dns.flags.RA


def test_an_alias_is_named_before_its_addresses():
    packet = dns_message.reply(asked(kind="AAAA"), ["fd00::1"], alias="a.example.com")

    answer = dns.message.from_wire(packet).answer
    assert [one.to_text() for one in answer] == [
        f"{NAME} 30 IN CNAME a.example.com.",
        "a.example.com. 30 IN AAAA fd00::1",
    ]


def test_two_hundred_addresses_are_cut_off_over_udp_and_whole_over_tcp():
    many = [f"10.0.{i // 100}.{i % 100}" for i in range(200)]
    question = asked()

    short = dns_message.reply(question, many)
    whole = dns_message.reply(question, many, stream=True)

    assert len(short) <= 512
    assert dns.message.from_wire(short).flags & dns.flags.TC
    found = dns.message.from_wire(whole)
    assert not found.flags & dns.flags.TC
    assert {one.to_text() for one in found.answer[0]} == set(many)


def test_a_client_that_takes_more_over_udp_is_sent_more():
    many = [f"10.0.0.{i}" for i in range(50)]

    packet = dns_message.reply(asked(use_edns=0, payload=4096), many)

    found = dns.message.from_wire(packet)
    assert len(found.answer[0]) == 50
    assert found.edns == 0


def test_a_table_that_holds_nonsense_is_a_failure_of_the_server():
    for question, addresses, alias in ((asked(), ["10.0.0"], ""), (asked(), (), "a" * 70)):
        packet = dns_message.reply(question, addresses, alias=alias)

        assert dns.message.from_wire(packet).rcode() == dns.rcode.SERVFAIL


@pytest.mark.parametrize("packet", [b"", b"\0" * 11])
def test_what_has_no_header_is_not_answered(packet):
    assert dns_message.parse(packet) == b""


def test_an_answer_is_not_answered():
    query = dns.message.make_query(NAME, "A")
    query.flags |= dns.flags.QR

    assert dns_message.parse(query.to_wire()) == b""


def _two_questions() -> bytes:
    message = dns.message.make_query(NAME, "A")
    message.question *= 2
    return message.to_wire()


def _update() -> bytes:
    message = dns.message.make_query(NAME, "A")
    message.set_opcode(dns.opcode.UPDATE)
    return message.to_wire()


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (dns.message.make_query(NAME, "A").to_wire()[:-3], dns.rcode.FORMERR),
        (b"\x12\x34\x01\x00" + b"\0" * 8, dns.rcode.FORMERR),  # no question
        (_two_questions(), dns.rcode.FORMERR),
        (b"\x12\x34\x01\x00\0\1" + b"\0" * 6 + b"\xc0\x0c" * 9000, dns.rcode.FORMERR),
        (_update(), dns.rcode.NOTIMP),
        (dns.message.make_query("version.bind", "TXT", "CH").to_wire(), dns.rcode.REFUSED),
    ],
)
def test_what_asks_nothing_is_refused_by_its_number(packet, code):
    found = dns_message.parse(packet)

    assert isinstance(found, bytes)
    answer = dns.message.from_wire(found)
    assert (answer.rcode(), answer.id) == (code, int.from_bytes(packet[:2], "big"))


_QUERY = dns.message.make_query(NAME, "A", use_edns=0).to_wire()


@st.composite
def bent(draw):
    """A query with some bytes changed, cut off or added."""
    packet = bytearray(_QUERY)
    for _ in range(draw(st.integers(0, 6))):
        packet[draw(st.integers(2, len(packet) - 1))] = draw(st.integers(0, 255))
    return bytes(packet[: draw(st.integers(0, len(packet)))]) + draw(st.binary(max_size=20))


@given(st.one_of(st.binary(max_size=80), bent()))
def test_no_packet_breaks_the_reader_or_the_answer(packet):
    found = dns_message.parse(packet)

    if isinstance(found, Question):
        of_type = {dns.rdatatype.A: ["10.0.0.1"], dns.rdatatype.AAAA: ["fd00::1"]}
        found = dns_message.reply(found, of_type.get(found.type, ()))
    if found:
        assert dns.message.from_wire(found).id == int.from_bytes(packet[:2], "big")


@pytest.mark.parametrize("name", ["a" * 64 + ".example.com", ".".join(["a" * 63] * 4)])
def test_no_question_is_asked_about_what_is_no_name(name: str):
    assert dns_message.renamed(asked(), name) is None
    failed = dns_message.reply(asked(), ["10.0.0.1"], alias=name)
    assert dns.message.from_wire(failed).rcode() == dns.rcode.SERVFAIL


def test_a_question_is_asked_about_another_name():
    packet = dns_message.renamed(asked(kind="AAAA"), "a.example.com")

    assert packet is not None
    found = dns_message.parse(packet)
    assert isinstance(found, Question)
    assert (found.name, found.type) == ("a.example.com", dns.rdatatype.AAAA)


def test_addresses_are_taken_from_an_answer_whatever_the_chain_of_names():
    packet = dns_message.reply(asked(), ["10.0.0.1", "10.0.0.2"], alias="a.example.com")

    found = dns_message.addresses(packet, dns.rdatatype.A)
    assert sorted(found) == ["10.0.0.1", "10.0.0.2"]
    assert dns_message.addresses(packet, dns.rdatatype.AAAA) == ()
    assert dns_message.addresses(b"broken", dns.rdatatype.A) == ()
