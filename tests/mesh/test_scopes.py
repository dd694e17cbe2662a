"""What a Sidecar lets through."""

from __future__ import annotations

import pytest

from plait.mesh import scopes


@pytest.mark.parametrize(
    ("patterns", "admitted"),
    [
        ((("*", "*"),), True),
        ((("demo", "*"),), True),
        ((("other", "*"),), False),
        ((("demo", "*.test"),), True),
        ((("demo", "*.other"),), False),
        ((("demo", "a.test"),), True),
        ((("~", "*"),), False),
        ((("*", "*"), ("~demo", "*")), False),
        ((("*", "*"), ("~other", "*")), True),
    ],
)
def test_a_host_passes_where_a_pattern_names_it_and_none_excludes_it(
    patterns: tuple[scopes.Pattern, ...], admitted: bool
):
    assert scopes.admits(patterns, "demo", "a.test") is admitted


def test_a_wildcard_passes_where_it_overlaps():
    assert scopes.admits((("*", "a.test"),), "demo", "*.test")
