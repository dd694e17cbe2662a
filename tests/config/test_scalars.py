import json

import pytest

from plait.config import scalars, yaml_reader
from plait.config.document import Document

WORDS = [
    *[
        (word, True)
        for word in ["y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE"]
    ],
    *[
        (word, False)
        for word in ["n", "N", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE"]
    ],
    *[(word, None) for word in ("~", "null", "Null", "NULL")],
    ("017", 15),
    ("0o17", 15),
    ("-017", -15),
    ("08", 8),
    ("0x1F", 31),
    ("0b101", 5),
    ("1_000", 1000),
    ("1e3", 1000),
    ("1.5e3", 1500),
    ("1.0", 1),
    ("+12", 12),
    (".5", 0.5),
    ("12.25", 12.25),
    ("18446744073709551615", 2**64 - 1),
    ("18446744073709551616", 2**64),
    ("1:30", "1:30"),
    ("2026-01-01", "2026-01-01"),
    ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
    ("10s", "10s"),
    ("1.2.3.4", "1.2.3.4"),
    ("1e", "1e"),
    ("0x", "0x"),
    ("0o9", "0o9"),
    ("1e400", "1e400"),
    ("-", "-"),
    (".", "."),
    ("yEs", "yEs"),
    ("yesterday", "yesterday"),
    ("9" * 5000, "9" * 5000),
]


@pytest.mark.parametrize(("word", "value"), WORDS)
def test_a_plain_word_means_what_kubectl_makes_of_it(word, value):
    made = scalars.plain(word)

    assert (made, type(made)) == (value, type(value))


@pytest.mark.parametrize("word", ["on", "y", "017", "1e3", "~", "1.0"])
def test_a_quoted_word_is_text(word):
    (document,) = yaml_reader.read(f'a: "{word}"', "f")

    assert isinstance(document, Document)
    assert document.value == {"a": word}


@pytest.mark.parametrize(
    ("word", "name"), [("n", "false"), ("on", "true"), ("1", "1"), ("017", "15"), ("1.5", "1.5")]
)
def test_a_key_is_read_as_a_word_and_then_made_text(word, name):
    (document,) = yaml_reader.read(f"{word}: a", "f")

    assert isinstance(document, Document)
    assert document.value == {name: "a"}


@pytest.mark.parametrize("word", [".inf", "-.inf", ".nan", ".NaN", "+.INF"])
def test_what_json_cannot_hold_is_refused(word):
    with pytest.raises(ValueError, match="JSON"):
        scalars.plain(word)


def test_every_value_can_be_written_as_json():
    for word, _ in WORDS[:-1]:
        json.dumps(scalars.plain(word), allow_nan=False)
