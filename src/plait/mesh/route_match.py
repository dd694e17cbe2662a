"""Conditions of a VirtualService's http matches, and whether one rule hides another."""

from __future__ import annotations

from collections.abc import Mapping

from plait.config.kinds import virtual_service as kinds
from plait.mesh import ir


def match(written: kinds.HTTPMatchRequest) -> ir.Match:
    """The conditions on the request itself; on port, source and gateway see `routes`."""
    pseudo = {
        ":method": written.method,
        ":authority": written.authority,
        ":scheme": written.scheme,
    }
    headers = [ir.HeaderMatch(name=k, value=text(v)) for k, v in pseudo.items() if v is not None]
    headers += [_header(name, value) for name, value in sorted(written.headers.items())]
    headers += [_without(name, value) for name, value in sorted(written.without_headers.items())]
    return ir.Match(
        path=None if written.uri is None else text(written.uri),
        ignore_case=written.ignore_uri_case,
        headers=tuple(headers),
        query=_query(written.query_params),
    )


def text(written: kinds.StringMatch) -> ir.StringMatch:
    """The test; nothing written, or the regex ``*``, is any value (Istio's rule)."""
    if written.exact is not None:
        return ir.Exact(written.exact)
    if written.prefix is not None:
        return ir.Prefix(written.prefix)
    if written.regex is not None and written.regex != "*":
        return ir.Regex(written.regex)
    return ir.Exists()


def _header(name: str, written: kinds.StringMatch) -> ir.HeaderMatch:
    return ir.HeaderMatch(name=name.lower(), value=text(written))


def _without(name: str, written: kinds.StringMatch) -> ir.HeaderMatch:
    """The opposite; an absent header counts as an empty one, so it passes."""
    value = text(written)
    absent = not isinstance(value, ir.Exists)
    return ir.HeaderMatch(name=name.lower(), value=value, invert=True, missing_is_empty=absent)


def _query(written: Mapping[str, kinds.StringMatch]) -> tuple[ir.QueryMatch, ...]:
    return tuple(ir.QueryMatch(name=k, value=text(v)) for k, v in sorted(written.items()))


def covers(earlier: ir.Match, later: ir.Match) -> bool:
    """Whether every request that `later` takes is taken by `earlier`.

    Certain when True; two regular expressions are compared by their text alone.
    """
    return (
        _path_covers(earlier, later)
        and set(earlier.headers) <= set(later.headers)
        and set(earlier.query) <= set(later.query)
    )


def _path_covers(earlier: ir.Match, later: ir.Match) -> bool:
    if earlier.path is None or earlier.path in (ir.Prefix("/"), ir.Exists(), ir.Prefix("")):
        return True
    if earlier.path == later.path:
        return earlier.ignore_case or not later.ignore_case
    if later.ignore_case and not earlier.ignore_case:
        return False
    if isinstance(earlier.path, ir.Prefix) and isinstance(later.path, ir.Prefix | ir.Exact):
        wide, narrow = earlier.path.value, later.path.value
        if earlier.ignore_case:
            wide, narrow = wide.lower(), narrow.lower()
        return narrow.startswith(wide)
    return False


def operation_path(path: ir.StringMatch | None) -> str:
    """How a span names the paths of a route: ``/api*``, ``/exact`` or the expression."""
    match path:
        case ir.Prefix(value=value):
            return f"{value}*"
        case ir.Exact(value=value) | ir.Suffix(value=value) | ir.Regex(value=value):
            return value
        case _:
            return "/*"
