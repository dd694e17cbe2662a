"""Label and field selectors."""

from __future__ import annotations

import pytest

from plait.serve.api import selectors
from plait.serve.api.status import StatusError

LABELS = {"app": "reviews", "version": "v1"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("app=reviews", True),
        ("app==reviews,version=v1", True),
        ("app!=reviews", False),
        ("other!=x", True),
        ("app in (ratings, reviews)", True),
        ("app notin (reviews)", False),
        ("other notin (reviews)", True),
        ("app", True),
        ("!app", False),
        ("!other,version in (v1,v2)", True),
        ("app=", False),
    ],
)
def test_label_selectors_select(text: str, expected: bool) -> None:
    assert selectors.parse(text, "").matches("demo", "reviews", LABELS) is expected


@pytest.mark.parametrize("text", ["app in reviews", "a=b=c", "==", "a in (b", "a b"])
def test_a_label_selector_that_cannot_be_read_is_400(text: str) -> None:
    with pytest.raises(StatusError) as refused:
        selectors.parse(text, "")

    assert refused.value.code == 400


def test_field_selectors_know_name_and_namespace() -> None:
    found = selectors.parse("", "metadata.name=a,metadata.namespace==b")

    assert found.matches("b", "a", {})
    assert not found.matches("b", "c", {})
    assert not found.matches("c", "a", {})
    assert not selectors.parse("", "metadata.name=a,metadata.name=b").matches("b", "a", {})


@pytest.mark.parametrize("text", ["status.phase=Running", "metadata.name!=a", "nonsense"])
def test_another_field_selector_is_400_and_says_which(text: str) -> None:
    with pytest.raises(StatusError) as refused:
        selectors.parse("", text)

    assert refused.value.code == 400
    assert text.partition("=")[0].rstrip("!") in refused.value.message
