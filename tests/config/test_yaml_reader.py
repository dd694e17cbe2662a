import pytest

from plait.config import yaml_reader
from plait.config.document import Document, printed
from plait.config.ports import Fault

TEXT = """\
# a comment
apiVersion: v1
kind: Service
metadata:
  name: reviews
spec:
  ports:
  - port: 1
  - name: http
    port: 2
"""


def documents(text: str) -> list[Document]:
    found = yaml_reader.read(text, "mesh/a.yaml")
    assert not [each for each in found if isinstance(each, Fault)], found
    return [each for each in found if isinstance(each, Document)]


def faults(text: str) -> list[Fault]:
    return [each for each in yaml_reader.read(text, "a.yaml") if isinstance(each, Fault)]


def test_a_field_is_found_by_its_path():
    (document,) = documents(TEXT)

    assert document.locator == "mesh/a.yaml:2"
    assert document.locate(("metadata", "name")) == "mesh/a.yaml:5:3"
    assert document.locate(("spec", "ports", 1)) == "mesh/a.yaml:9:5"
    assert document.locate(("spec", "ports", 1, "port")) == "mesh/a.yaml:10:5"


def test_a_field_that_is_not_written_is_at_the_nearest_one_around_it():
    (document,) = documents(TEXT)

    assert document.locate(("spec", "ports", 0, "name", "x")) == "mesh/a.yaml:8:5"
    assert document.locate(("spec", "ports", 7)) == "mesh/a.yaml:7:3"
    assert document.locate(()) == "mesh/a.yaml:2:1"


def test_positions_count_from_the_top_of_the_text():
    _, second = documents("a: 1\n---\n\nb:\n  c: 1\n")

    assert second.locate(("b", "c")) == "mesh/a.yaml:5:3"


def test_a_broken_document_spares_the_others():
    first, broken, last = yaml_reader.read("a: 1\n---\nb: [\n---\nc: 3\n", "a.yaml")

    assert isinstance(first, Document)
    assert isinstance(last, Document)
    assert isinstance(broken, Fault)
    assert (first.value, last.value) == ({"a": 1}, {"c": 3})
    assert str(broken.origin) == "a.yaml:4:1"


def test_a_duplicate_key_is_reported_with_both_lines_and_the_last_value_counts():
    (document,) = documents("spec:\n  a: 1\n  b: 2\n  a: 3\n")

    (found,) = document.duplicates
    assert (printed(found.path), found.first, found.last) == ("spec.a", 2, 4)
    assert document.value == {"spec": {"a": 3, "b": 2}}


def test_keys_that_mean_the_same_are_duplicates():
    (document,) = documents("yes: 1\non: 2\n")

    assert [found.path for found in document.duplicates] == [("true",)]


def test_empty_documents_comments_and_directives_are_left_out():
    assert documents("") == []
    assert documents("---\n# nothing\n---\n\n--- # nothing\n...\n") == []
    assert [d.value for d in documents("%YAML 1.1\n---\na: 1\n...\n")] == [{"a": 1}]


def test_aliases_are_copies_and_merges_give_way_to_what_is_written():
    (document,) = documents("a: &x {b: 1, c: 2}\nd: *x\ne: {<<: *x, c: 3}\n")

    assert document.value["d"] == {"b": 1, "c": 2}
    assert document.value["d"] is not document.value["a"]
    assert document.value["e"] == {"b": 1, "c": 3}


def test_json_is_read_too_with_escapes_that_yaml_does_not_know():
    (document,) = documents('{"a": "\\ud83d\\ude00 \\ud83d \\/", "b": 1.0}')

    assert document.value == {"a": "\U0001f600 \ufffd /", "b": 1}
    assert [d.value for d in documents('{"a": 1}\n{"b": 2}')] == [{"a": 1}, {"b": 2}]


def test_a_block_of_text_may_contain_indented_separators():
    (document,) = documents("data:\n  a: |\n    x\n    ---\n    y\n")

    assert document.value == {"data": {"a": "x\n---\ny\n"}}


@pytest.mark.parametrize(
    ("text", "told", "where"),
    [
        ("a:\n\tb: 1", "spaces, not with tabs", "a.yaml:2:1"),
        ("a: b: c", "quotes around", "a.yaml:1:5"),
        ("- 1", "must be an object", "a.yaml:1:1"),
        ("text", "must be an object", "a.yaml:1:1"),
        ("a: .inf", "JSON", "a.yaml:1:4"),
        ("? [a]\n: 1", "a key must be", "a.yaml:1:3"),
        ("~: 1", "a key must be", "a.yaml:1:1"),
        ("<<: 1", "must be a mapping", "a.yaml:1:1"),
        ("a: *b", "no such anchor", "a.yaml:1:4"),
        ("a: &a [*a]", "no such anchor", "a.yaml:1:8"),
        ("a: \x07", "control characters", "a.yaml:1"),
        ("a: !!binary //79", "decode", "a.yaml:1:4"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text, told, where):
    (fault,) = faults(text)

    assert told in fault.problem
    assert (fault.origin.locator, fault.code) == (where, "PLT1001")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "- " * 100_000,
        '{"a":' * 50_000,
        "? " * 10_000,
        "a: &a [x]\n" + "".join(f"b{i}: &a [*a, *a, *a, *a]\n" for i in range(40)),
        "".join(f"k{i}: &b{i} {'[' * 50}{f'*b{i - 1}' if i else 1}{']' * 50}\n" for i in range(9)),
    ],
    ids=["flow", "block", "json", "keys", "aliases", "aliases in depth"],
)
def test_what_is_too_deep_or_too_large_is_refused_at_once(text):
    (fault,) = faults(text)

    assert "levels" in fault.problem or "aliases" in fault.problem or "key" in fault.problem
