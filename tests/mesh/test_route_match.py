"""When one rule hides another, and what conditions mean."""

from __future__ import annotations

import pytest

from plait.config.kinds import virtual_service as kinds
from plait.mesh import ir, route_match


def of(path: ir.StringMatch | None = None, *headers: str) -> ir.Match:
    return ir.Match(
        path=path,
        headers=tuple(ir.HeaderMatch(name=name, value=ir.Exists()) for name in headers),
    )


@pytest.mark.parametrize(
    ("earlier", "later", "hides"),
    [
        (of(), of(ir.Exact("/a"), "x"), True),
        (of(ir.Prefix("/")), of(ir.Regex("/.*")), True),
        (of(ir.Prefix("/a")), of(ir.Prefix("/ab")), True),
        (of(ir.Prefix("/a")), of(ir.Exact("/a")), True),
        (of(ir.Prefix("/ab")), of(ir.Prefix("/a")), False),
        (of(ir.Exact("/a")), of(ir.Prefix("/a")), False),
        (of(ir.Regex("/a.*")), of(ir.Exact("/ab")), False),
        (of(ir.Regex("/a.*")), of(ir.Regex("/a.*")), True),
        (of(None, "x"), of(None), False),
        (of(None, "x"), of(None, "x", "y"), True),
    ],
)
def test_a_match_hides_those_that_ask_for_more(earlier: ir.Match, later: ir.Match, hides: bool):
    assert route_match.covers(earlier, later) is hides


def test_case_matters_when_one_match_hides_another():
    exact = ir.Match(path=ir.Exact("/a"))
    loose = ir.Match(path=ir.Exact("/a"), ignore_case=True)

    assert route_match.covers(loose, exact)
    assert not route_match.covers(exact, loose)


def test_an_absent_header_passes_without_headers():
    written = kinds.HTTPMatchRequest(
        without_headers={"X-A": kinds.StringMatch(exact="1"), "x-b": kinds.StringMatch()}
    )

    assert route_match.match(written).headers == (
        ir.HeaderMatch(name="x-a", value=ir.Exact("1"), invert=True, missing_is_empty=True),
        ir.HeaderMatch(name="x-b", value=ir.Exists(), invert=True),
    )


def test_the_regex_star_is_any_value():
    assert route_match.text(kinds.StringMatch(regex="*")) == ir.Exists()
