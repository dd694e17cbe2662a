import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.xds import certificates, protos
from plait.xds.certificates import CertificateRequest
from plait.xds.wire import Malformed
from tests.support import scale

MANY = scale.count(100, 2000)
TEXT = st.text(st.characters(codec="utf-8"), min_size=1)


@settings(max_examples=MANY, deadline=None)
@given(
    csr=st.text(st.characters(codec="utf-8")),
    seconds=st.integers(0, 2**63 - 1),
    metadata=st.dictionaries(TEXT, TEXT, max_size=4),
)
def test_a_request_is_read_as_it_was_written(csr, seconds, metadata):
    data = certificates.request(csr, seconds, metadata)

    expected = CertificateRequest(csr=csr, seconds=seconds, metadata=metadata)
    assert expected == certificates.read_request(data)


@settings(max_examples=MANY, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"))))
def test_an_answer_is_read_as_it_was_written(chain):
    assert tuple(chain) == certificates.read_response(certificates.response(chain))


@settings(max_examples=MANY, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_malformed(data):
    for read in (certificates.read_request, certificates.read_response):
        with contextlib.suppress(Malformed):
            read(data)


@settings(max_examples=MANY, deadline=None)
@given(st.data())
def test_a_damaged_request_is_a_request_or_malformed(data):
    whole = certificates.request("csr", 60, {"Pod": "demo/web"})
    place = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:place] + data.draw(st.binary(max_size=3)) + whole[place + 1 :]

    try:
        found = certificates.read_request(damaged)
    except Malformed:
        return
    assert isinstance(found.csr, str)


def test_the_bytes_are_those_that_protobuf_writes():
    struct = protos.Struct()
    struct.fields["Pod"].string_value = "demo/web"
    body = struct.SerializeToString()

    expected = b"\x0a\x03csr\x18\x3c\x22" + bytes([len(body)]) + body
    assert expected == certificates.request("csr", 60, {"Pod": "demo/web"})
    assert certificates.response(["a", "b"]) == b"\x0a\x01a\x0a\x01b"


def test_unknown_fields_are_stepped_over():
    unknown = b"\x2a\x02hi" + b"\x31" + b"8" * 8 + b"\x3d" + b"4" * 4 + b"\x40\x01"
    data = unknown + certificates.request("csr", 0, {})

    assert CertificateRequest(csr="csr") == certificates.read_request(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a\x05abc",  # truncated
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # a length without end
        b"\x08\x01",  # a number where the CSR is expected
        b"\x1a\x01a",  # a text where the seconds are expected
        b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # -1 seconds
        b"\x0a\x01\xff",  # not UTF-8
        b"\x22\x02\x0a\x05",  # no Struct
        b"\x0b",  # a group
        b"\x02\x00",  # field 0
    ],
)
def test_what_is_no_request_is_malformed(data):
    with pytest.raises(Malformed):
        certificates.read_request(data)
