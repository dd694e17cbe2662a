"""Route tables: IR to RouteConfiguration, one virtual host at a time."""

from __future__ import annotations

import re
from typing import Any, assert_never

from plait.base.digest import digest
from plait.base.query import Failed, Query
from plait.config.meta import Key
from plait.mesh import ir, route_tables, virtual_hosts
from plait.xds import protos
from plait.xds.admission import admitted
from plait.xds.resource import ROUTES, Absent, Answer, Child, Present, assembled

_VIRTUAL_HOSTS = 2  # field number in RouteConfiguration
_APPEND, _OVERWRITE = 0, 2  # HeaderValueOption.HeaderAppendAction
_REDIRECTS = {301: 0, 302: 1, 303: 2, 307: 3, 308: 4}
_STRING_FIELD = {ir.Exact: "exact", ir.Prefix: "prefix", ir.Suffix: "suffix"}
_PREVIOUS_HOSTS = protos.packed(protos.PreviousHostsPredicate())


def table(q: Query, view: ir.View, name: str) -> Answer:
    """The RouteConfiguration `name` as the proxies of `view` see it; Absent: no such table.

    A virtual host whose query fails, or that Envoy refused and that has no accepted form,
    answers 503; the others go on.
    """
    found = q(route_tables.table, view, name)
    if found is None:
        return Absent()
    made = ((entry, q.attempt(encoded, entry)) for entry in found.entries)
    children = tuple(
        stand_in(entry) if isinstance(child, Failed) else child for entry, child in made
    )
    frame = encode_frame(name, ignore_port=found.ignore_port)
    return Present(
        resource=assembled(ROUTES, name, frame=frame, field=_VIRTUAL_HOSTS, children=children)
    )


def encoded(q: Query, entry: virtual_hosts.Entry) -> Child:
    """One virtual host, serialised; shared by every table that has an equal entry.

    What Envoy refused has its last accepted form, or answers 503.
    """
    found = q(virtual_hosts.virtual_host, entry)
    child = child_of(found.name, encode_virtual_host(found), found.origin)
    return admitted(q, child, None) or stand_in(entry)


def child_of(name: str, body: bytes, origin: tuple[Key, ...]) -> Child:
    """`body` with its digest."""
    return Child(name=name, digest=digest(body), body=body, origin=origin)


def stand_in(entry: virtual_hosts.Entry) -> Child:
    """A virtual host that answers 503 for the domains of `entry`."""
    reply = ir.Route(
        name="refused", match=ir.Match(path=ir.Prefix("/")), action=ir.Reply(status=503)
    )
    host = ir.VirtualHost(name=entry.name, domains=entry.domains, routes=(reply,))
    return child_of(entry.name, encode_virtual_host(host), entry.origin)


def encode_frame(name: str, *, ignore_port: bool) -> bytes:
    """A RouteConfiguration without its virtual hosts."""
    return protos.encode(
        protos.RouteConfiguration(
            name=name,
            ignore_port_in_host_matching=ignore_port,
            validate_clusters={"value": False},
            max_direct_response_body_size_bytes={"value": 1048576},
        )
    )


def encode_virtual_host(host: ir.VirtualHost, *, inbound: bool = False) -> bytes:
    """A serialised VirtualHost."""
    return protos.encode(virtual_host_message(host, inbound=inbound))


def virtual_host_message(host: ir.VirtualHost, *, inbound: bool = False) -> Any:
    """A VirtualHost; `inbound`: a stream has no limit, whatever ``grpc-timeout`` says."""
    return protos.VirtualHost(
        name=host.name,
        domains=host.domains,
        routes=[encode_route(route, inbound=inbound) for route in host.routes],
        require_tls=2 if host.require_tls else 0,
        include_request_attempt_count=True,
    )


def encode_route(route: ir.Route, *, inbound: bool) -> Any:
    """A Route message with its origin in the metadata."""
    message = protos.Route(
        name=route.name,
        match=encode_match(route.match),
        request_headers_to_add=header_options(route.request_headers),
        request_headers_to_remove=route.request_headers.remove,
        response_headers_to_add=header_options(route.response_headers),
        response_headers_to_remove=route.response_headers.remove,
    )
    if route.operation:
        message.decorator.operation = route.operation
    if route.origin:
        message.metadata.filter_metadata["plait"]["origin"] = str(route.origin[0])
    match route.action:
        case ir.Forward():
            _forward(message, route, route.action, inbound=inbound)
        case ir.Redirect():
            message.redirect.CopyFrom(_redirect(message.redirect, route.action))
        case ir.Reply(status=status, body=body):
            message.direct_response.status = status
            if body:
                message.direct_response.body.inline_bytes = body
        case _ as never:
            assert_never(never)
    return message


def _forward(message: Any, route: ir.Route, forward: ir.Forward, *, inbound: bool) -> None:
    """A caller's ``grpc-timeout`` counts up to the route's (0: without a limit)."""
    action = message.route
    if len(forward.to) == 1:
        _single(message, forward.to[0])
    else:
        for to in forward.to:
            action.weighted_clusters.clusters.add(**_weighted(to))
    if forward.prefix_rewrite:
        action.prefix_rewrite = forward.prefix_rewrite
    if forward.regex_rewrite:
        action.regex_rewrite.pattern.regex = forward.regex_rewrite.pattern
        action.regex_rewrite.substitution = forward.regex_rewrite.substitution
    if forward.host_rewrite:
        action.host_rewrite_literal = forward.host_rewrite
    action.timeout.CopyFrom(protos.duration(route.timeout or 0.0))
    stream = action.max_stream_duration
    stream.grpc_timeout_header_max.CopyFrom(protos.duration(0 if inbound else route.timeout or 0))
    if inbound:
        stream.max_stream_duration.CopyFrom(protos.duration(0))
    if route.retry:
        _retry(action.retry_policy, route.retry)


def _single(message: Any, to: ir.Weighted) -> None:
    """A lone destination: its header operations follow the route's, in one list (as Istio's)."""
    message.route.cluster = to.cluster
    if to.host_rewrite:
        message.route.host_rewrite_literal = to.host_rewrite
    for field, operations in (("request", to.request_headers), ("response", to.response_headers)):
        for option in header_options(operations):
            getattr(message, f"{field}_headers_to_add").add(**option)
        getattr(message, f"{field}_headers_to_remove").extend(operations.remove)


def _weighted(to: ir.Weighted) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": to.cluster,
        "weight": {"value": to.weight},
        "request_headers_to_add": header_options(to.request_headers),
        "request_headers_to_remove": to.request_headers.remove,
        "response_headers_to_add": header_options(to.response_headers),
        "response_headers_to_remove": to.response_headers.remove,
    }
    if to.host_rewrite:
        fields["host_rewrite_literal"] = to.host_rewrite
    return fields


def _retry(policy: Any, retry: ir.Retry) -> None:
    policy.retry_on = ",".join(retry.on)
    policy.num_retries.value = retry.attempts
    policy.retriable_status_codes.extend(retry.codes)
    if retry.per_try_timeout is not None:
        policy.per_try_timeout.CopyFrom(protos.duration(retry.per_try_timeout))
    if retry.backoff is not None:
        policy.retry_back_off.base_interval.CopyFrom(protos.duration(retry.backoff))
    if retry.previous_hosts:
        policy.retry_host_predicate.add(
            name="envoy.retry_host_predicates.previous_hosts", typed_config=_PREVIOUS_HOSTS
        )
        policy.host_selection_retry_max_attempts = retry.host_attempts


def _redirect(empty: Any, redirect: ir.Redirect) -> Any:
    fields: dict[str, Any] = {"response_code": _REDIRECTS[redirect.code]}
    given = {
        "host_redirect": redirect.host,
        "path_redirect": redirect.path,
        "prefix_rewrite": redirect.prefix,
        "scheme_redirect": redirect.scheme,
        "port_redirect": redirect.port,
    }
    return type(empty)(**fields, **{name: value for name, value in given.items() if value})


def header_options(operations: ir.HeaderOps) -> list[dict[str, Any]]:
    """What is set, then what is added; removals are separate fields of Envoy's messages."""
    pairs = [(pair, _OVERWRITE) for pair in operations.set]
    pairs += [(pair, _APPEND) for pair in operations.add]
    return [
        {"header": {"key": name, "value": value}, "append_action": action, "keep_empty_value": True}
        for (name, value), action in pairs
    ]


def encode_match(match: ir.Match) -> dict[str, Any]:
    """Fields of a RouteMatch; no path means every path."""
    fields = _path(match.path)
    if match.ignore_case:
        fields["case_sensitive"] = {"value": False}
    fields["headers"] = [_header(header) for header in match.headers]
    fields["query_parameters"] = [_query(parameter) for parameter in match.query]
    return fields


def _path(path: ir.StringMatch | None) -> dict[str, Any]:
    match path:
        case None | ir.Exists():
            return {"prefix": "/"}
        case ir.Exact(value=value):
            return {"path": value}
        case ir.Prefix(value=value):
            return {"prefix": value}
        case ir.Suffix(value=value):
            return {"safe_regex": {"regex": f".*{re.escape(value)}"}}
        case ir.Regex(value=value):
            return {"safe_regex": {"regex": value}}
        case _ as never:
            assert_never(never)


def _string(value: ir.StringMatch, *, ignore_case: bool = False) -> dict[str, Any]:
    if isinstance(value, ir.Regex):
        return {"safe_regex": {"regex": value.value}}
    if isinstance(value, ir.Exists):
        return {"prefix": ""}
    return {_STRING_FIELD[type(value)]: value.value, "ignore_case": ignore_case}


def _header(header: ir.HeaderMatch) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": header.name,
        "invert_match": header.invert,
        "treat_missing_header_as_empty": header.missing_is_empty,
    }
    if isinstance(header.value, ir.Exists):
        return fields | {"present_match": True}
    return fields | {"string_match": _string(header.value, ignore_case=header.ignore_case)}


def _query(parameter: ir.QueryMatch) -> dict[str, Any]:
    if isinstance(parameter.value, ir.Exists):
        return {"name": parameter.name, "present_match": True}
    return {"name": parameter.name, "string_match": _string(parameter.value)}
