"""What a VirtualService does with the requests of one rule."""

from __future__ import annotations

from plait.base.query import Query
from plait.config.kinds import virtual_service as kinds
from plait.mesh import destinations, ir, route_match
from plait.mesh.destinations import Context

DEFAULT_RETRY = ir.Retry(
    attempts=2,
    on=(
        "connect-failure",
        "refused-stream",
        "unavailable",
        "cancelled",
        "retriable-status-codes",
    ),
)
"""Istio's: only where the server cannot have begun to work; no status code is listed."""

_CODES = "retriable-status-codes"
_REDIRECTS = (301, 302, 303, 307, 308)
_DEFAULT_PORTS = {"http": 80, "https": 443}


def route(
    q: Query,
    context: Context,
    http: kinds.HTTPRoute,
    match: ir.Match,
    names: tuple[str, str],
) -> ir.Route:
    """One route; `names` are the route's name and the section it was written in."""
    name, section = names
    action = _action(q, context, http, section.split(".")[0])
    headers = http.headers or kinds.Headers()
    request, host = destinations.operations(headers.request)
    if host and isinstance(action, ir.Forward) and not action.host_rewrite:
        action = ir.Forward(
            to=action.to,
            prefix_rewrite=action.prefix_rewrite,
            regex_rewrite=action.regex_rewrite,
            host_rewrite=host,
        )
    return ir.Route(
        name=name,
        match=match,
        action=action,
        timeout=http.timeout or None,
        retry=retry(http.retries) if isinstance(action, ir.Forward) else None,
        request_headers=request,
        response_headers=destinations.operations(headers.response)[0],
        operation=_operation(context, action) + route_match.operation_path(match.path),
        origin=(context.key,),
    )


def _operation(context: Context, action: ir.Action) -> str:
    """``HOST:PORT`` of a lone destination, else the VirtualService's name (Istio's rule)."""
    if isinstance(action, ir.Forward) and len(action.to) == 1:
        parts = action.to[0].cluster.split("|")
        if len(parts) == 4:
            return f"{parts[3]}:{parts[1]}"
    return f"{context.key.name}:{context.port}"


def _action(q: Query, context: Context, http: kinds.HTTPRoute, section: str) -> ir.Action:
    if http.redirect is not None:
        return redirect(http.redirect, context.port, "https" if context.encrypted else "http")
    if http.direct_response is not None:
        return reply(http.direct_response)
    rewrite = http.rewrite or kinds.HTTPRewrite()
    regex = rewrite.uri_regex_rewrite
    return ir.Forward(
        to=_weighted(q, context, http, section),
        prefix_rewrite="" if regex else rewrite.uri,
        regex_rewrite=ir.RegexRewrite(pattern=regex.match, substitution=regex.rewrite)
        if regex
        else None,
        host_rewrite=rewrite.authority,
    )


def _weighted(
    q: Query, context: Context, http: kinds.HTTPRoute, section: str
) -> tuple[ir.Weighted, ...]:
    found = []
    for i, to, weight in destinations.shares(http.route):
        headers = to.headers or kinds.Headers()
        request, host = destinations.operations(headers.request)
        path = f"spec.{section}.route[{i}].destination"
        found.append(
            ir.Weighted(
                cluster=destinations.cluster_name(q, context, to.destination, path),
                weight=weight,
                host_rewrite=host,
                request_headers=request,
                response_headers=destinations.operations(headers.response)[0],
            )
        )
    return tuple(found)


def redirect(written: kinds.HTTPRedirect, port: int, scheme: str = "http") -> ir.Redirect:
    """A redirect of requests to `port`, which is meant by ``FROM_REQUEST_PORT``, in `scheme`.

    A port that the scheme implies, be it written or spoken, is left out; an unknown code is 301.
    """
    derived = written.derive_port is kinds.RedirectPortSelection.FROM_REQUEST_PORT
    number = port if derived else written.port or 0
    if _DEFAULT_PORTS.get(written.scheme or scheme) == number:
        number = 0
    return ir.Redirect(
        host=written.authority,
        path=written.uri,
        prefix="" if written.uri else written.prefix_rewrite,
        scheme=written.scheme,
        port=number,
        code=written.redirect_code if written.redirect_code in _REDIRECTS else 301,
    )


def reply(written: kinds.HTTPDirectResponse) -> ir.Reply:
    """An answer at once."""
    body = written.body or kinds.HTTPBody()
    text = body.string.encode() if body.string is not None else body.bytes or b""
    return ir.Reply(status=written.status, body=text)


def retry(written: kinds.HTTPRetry | None) -> ir.Retry | None:
    """When to try again; None: never.  Numbers among the conditions are status codes."""
    if written is None:
        return DEFAULT_RETRY
    if not written.attempts:
        return None
    parts = [part.strip() for part in written.retry_on.split(",") if part.strip()]
    codes = tuple(int(part) for part in parts if part.isdigit())
    on = tuple(part for part in parts if not part.isdigit())
    if codes and _CODES not in on:
        on = (*on, _CODES)
    return ir.Retry(
        attempts=written.attempts,
        on=on or DEFAULT_RETRY.on,
        codes=codes,
        per_try_timeout=written.per_try_timeout,
        backoff=written.backoff,
        previous_hosts=written.retry_ignore_previous_hosts is not False,
    )
