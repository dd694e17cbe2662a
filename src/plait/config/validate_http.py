"""Rules about the HTTP routes of a VirtualService, and what other routes share with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from plait.config import syntax, unenforced
from plait.config.document import Path
from plait.config.finding import invalid, shown
from plait.config.kinds import virtual_service as vs
from plait.config.names import MESH
from plait.config.syntax import Findings

_ACTIONS: Final = {
    "route": "route",
    "redirect": "redirect",
    "direct_response": "directResponse",
    "delegate": "delegate",
}
_AUTHORITY: Final = ("host", ":authority")
_REDIRECT_CODES: Final = (301, 302, 303, 307, 308)
_LARGEST_BODY: Final = 1 << 20
_LONGEST_PARAMETER: Final = 1024
_MOST_CHANGES: Final = 1000  # of headers, in one list
_REDIRECTED: Final = {
    "uri": "uri",
    "authority": "authority",
    "prefix_rewrite": "prefixRewrite",
}
_MOST: Final = 2**32 - 1
_RETRY_ON: Final = frozenset(
    {
        "5xx",
        "gateway-error",
        "reset",
        "reset-before-request",
        "connect-failure",
        "envoy-ratelimited",
        "retriable-4xx",
        "refused-stream",
        "retriable-status-codes",
        "retriable-headers",
        "http3-post-connect-failure",
        "cancelled",
        "deadline-exceeded",
        "internal",
        "resource-exhausted",
        "unavailable",
    }
)
_GRPC: Final = frozenset(
    {
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    }
)


def http(route: vs.HTTPRoute, path: Path) -> Findings:
    """One HTTP route."""
    yield from syntax.exclusive(route, _ACTIONS, path, needed=True)
    for i, match in enumerate(route.match):
        yield from _match(match, (*path, "match", i))
    for i, target in enumerate(route.route):
        yield from destination(target.destination, (*path, "route", i, "destination"))
        yield from _headers(target.headers, (*path, "route", i, "headers"))
    yield from weights([target.weight for target in route.route], (*path, "route"))
    yield from _headers(route.headers, (*path, "headers"))
    yield from syntax.duration(route.timeout, (*path, "timeout"), zero=True)
    yield from _actions(route, path)
    yield from _retries(route.retries, (*path, "retries"))
    yield from _fault(route.fault, (*path, "fault"))
    yield from _mirrors(route, path)
    yield from _cors(route.cors_policy, (*path, "corsPolicy"))


def gateways(names: Sequence[str], path: Path) -> Findings:
    """Names of gateways, as a VirtualService or a match gives them."""
    for i, name in enumerate(names):
        if name == MESH:
            continue
        space, slash, short = name.rpartition("/")
        if slash and space != ".":
            yield from syntax.label(space, (*path, i), "namespace")
        yield from syntax.subdomain(short, (*path, i))


def destination(found: vs.Destination, path: Path) -> Findings:
    """A host with its subset and port."""
    yield from syntax.host(found.host, (*path, "host"))
    if found.subset:
        yield from syntax.label(found.subset, (*path, "subset"), "name of a subset")
    if found.port is not None:
        yield from syntax.port(found.port.number, (*path, "port", "number"))


def source(
    match: vs.HTTPMatchRequest | vs.TLSMatchAttributes | vs.L4MatchAttributes, path: Path
) -> Findings:
    """Conditions on where a request comes from, and on the port it asks for."""
    if match.port is not None:
        yield from syntax.port(match.port, (*path, "port"))
    yield from syntax.labels(match.source_labels, (*path, "sourceLabels"))
    yield from gateways(match.gateways, (*path, "gateways"))
    if match.source_namespace:
        yield from syntax.label(match.source_namespace, (*path, "sourceNamespace"), "namespace")


def weights(shares: Sequence[int], path: Path) -> Findings:
    """Shares of several destinations."""
    for i, weight in enumerate(shares):
        yield from syntax.at_least(0, weight, (*path, i, "weight"))
    if len(shares) > 1 and sum(shares) == 0:
        hint = "with several destinations, give those that shall be used a weight"
        yield invalid(path, "all weights are 0", hint)
    if sum(shares) > _MOST:
        yield invalid(path, f"the weights sum to {sum(shares)}", f"at most {_MOST}")


def _match(match: vs.HTTPMatchRequest, path: Path) -> Findings:
    for name in ("uri", "scheme", "method", "authority"):
        yield from _string(getattr(match, name), (*path, name))
    for field, values in (
        ("headers", match.headers),
        ("withoutHeaders", match.without_headers),
        ("queryParams", match.query_params),
    ):
        for name, value in values.items():
            yield from _string(value, (*path, field, name))
            if field == "queryParams":
                yield from _parameter(name, (*path, field))
            elif name.startswith("@request.auth."):
                yield unenforced.not_enforced((*path, field, name))
            else:
                pseudo = (":method", ":authority", ":path", ":scheme")
                yield from syntax.header(name, (*path, field, name), pseudo=pseudo)
    yield from source(match, path)


def _parameter(name: str, path: Path) -> Findings:
    if not name:
        yield invalid(path, "a parameter has no name", "name it")
    elif len(name.encode(errors="replace")) > _LONGEST_PARAMETER:
        hint = f"at most {_LONGEST_PARAMETER} bytes"
        yield invalid(path, f"{shown(name)} is too long for the name of a parameter", hint)


def _string(match: vs.StringMatch | None, path: Path) -> Findings:
    if match is None:
        return
    used = [name for name in ("exact", "prefix", "regex") if getattr(match, name) is not None]
    if len(used) > 1:
        yield invalid(path, f"{' and '.join(used)} cannot be used together", "keep one of them")
    for name in ("exact", "prefix"):
        if getattr(match, name) == "":
            hint = "write {} to ask for presence only, or leave the condition out"
            yield invalid((*path, name), "the text to match is empty", hint)
    if match.regex is not None:
        yield from syntax.regex(match.regex, (*path, "regex"))


def _headers(headers: vs.Headers | None, path: Path) -> Findings:
    if headers is None:
        return
    yield from _operations(headers.request, (*path, "request"), _AUTHORITY)
    yield from _operations(headers.response, (*path, "response"), ())


def _operations(
    operations: vs.HeaderOperations | None, path: Path, pseudo: Sequence[str]
) -> Findings:
    if operations is None:
        return
    changes: dict[str, Mapping[str, str]] = {"set": operations.set, "add": operations.add}
    if len(operations.set) + len(operations.add) > _MOST_CHANGES:
        yield invalid(path, "too many headers are changed", f"at most {_MOST_CHANGES}")
    for field, values in changes.items():
        for name, value in values.items():
            yield from syntax.header(name, (*path, field, name), pseudo=pseudo)
            yield from syntax.header_value(value, (*path, field, name))
    for i, name in enumerate(operations.remove):
        yield from syntax.header(name, (*path, "remove", i))
        if name.lower() == "host":
            hint = "set it to another value instead"
            yield invalid((*path, "remove", i), "the host cannot be removed", hint)


def _actions(route: vs.HTTPRoute, path: Path) -> Findings:
    if route.redirect is not None:
        yield from _redirect(route.redirect, (*path, "redirect"))
        for name in ("rewrite", "fault", "mirror"):
            if getattr(route, name) is not None:
                yield invalid((*path, name), f"{name} has no effect on a redirect", "remove it")
    if route.direct_response is not None:
        yield from _reply(route.direct_response, (*path, "directResponse"))
    if route.rewrite is not None:
        yield from _rewrite(route.rewrite, (*path, "rewrite"))
    if route.delegate is not None and not route.delegate.name:
        hint = "name the VirtualService that has the routes"
        yield invalid((*path, "delegate", "name"), "the name is missing", hint)


def _redirect(redirect: vs.HTTPRedirect, path: Path) -> Findings:
    code = redirect.redirect_code
    if code and code not in _REDIRECT_CODES:
        hint = "one of 301, 302, 303, 307, 308"
        yield invalid((*path, "redirectCode"), f"{code} is no redirection", hint)
    if redirect.scheme not in ("", "http", "https"):
        yield invalid((*path, "scheme"), f"{shown(redirect.scheme)} is no scheme", "http or https")
    if redirect.port is not None:
        yield from syntax.port(redirect.port, (*path, "port"))
        if redirect.derive_port is not None:
            hint = "keep one of them"
            yield invalid((*path, "derivePort"), "port and derivePort exclude each other", hint)
    yield from syntax.exclusive(redirect, {"uri": "uri", "prefix_rewrite": "prefixRewrite"}, path)
    for name in ("uri", "authority", "prefix_rewrite"):
        yield from syntax.one_line(getattr(redirect, name), (*path, _REDIRECTED[name]))
    if redirect == vs.HTTPRedirect():
        hint = "write one of uri, authority, scheme, port, redirectCode"
        yield invalid(path, "the redirect changes nothing", hint)


def _reply(reply: vs.HTTPDirectResponse, path: Path) -> Findings:
    yield from syntax.status(reply.status, (*path, "status"))
    body = reply.body
    if body is None:
        return
    if body.string is not None and body.bytes is not None:
        yield invalid((*path, "body"), "string and bytes exclude each other", "keep one of them")
    if len((body.string or "").encode(errors="replace") or body.bytes or b"") > _LARGEST_BODY:
        yield invalid((*path, "body"), "the body is too large", "at most 1 MiB")


def _rewrite(rewrite: vs.HTTPRewrite, path: Path) -> Findings:
    fields = {"uri": "uri", "uri_regex_rewrite": "uriRegexRewrite"}
    yield from syntax.exclusive(rewrite, fields, path)
    for name in ("uri", "authority"):
        yield from syntax.one_line(getattr(rewrite, name), (*path, name))
    if rewrite == vs.HTTPRewrite():
        hint = "write one of uri, authority, uriRegexRewrite"
        yield invalid(path, "the rewrite changes nothing", hint)
    if rewrite.uri_regex_rewrite is not None:
        here = (*path, "uriRegexRewrite", "rewrite")
        yield from syntax.one_line(rewrite.uri_regex_rewrite.rewrite, here)
        yield from syntax.regex(
            rewrite.uri_regex_rewrite.match, (*path, "uriRegexRewrite", "match")
        )


def _retries(retries: vs.HTTPRetry | None, path: Path) -> Findings:
    if retries is None:
        return
    yield from syntax.at_least(0, retries.attempts, (*path, "attempts"))
    if retries.attempts > _MOST:
        hint = f"at most {_MOST}"
        yield invalid((*path, "attempts"), f"{retries.attempts} is too much", hint)
    yield from syntax.duration(retries.per_try_timeout, (*path, "perTryTimeout"), zero=True)
    yield from syntax.duration(retries.backoff, (*path, "backoff"))
    if retries.attempts == 0 and retries != vs.HTTPRetry():
        hint = "write attempts, or remove the other fields: 0 attempts means no retries"
        yield invalid((*path, "attempts"), "retries are set up but switched off", hint)
    for word in (part.strip() for part in retries.retry_on.split(",")):
        if not word or word.lower() in _RETRY_ON:
            continue
        if word.isascii() and word.isdigit():
            yield from syntax.status(int(word[:9]), (*path, "retryOn"), least=100)
        else:
            hint = f"a status, or one of {', '.join(sorted(_RETRY_ON))}"
            yield invalid((*path, "retryOn"), f"{shown(word)} is no condition", hint)


def _fault(fault: vs.HTTPFaultInjection | None, path: Path) -> Findings:
    if fault is None:
        return
    if fault.delay is None and fault.abort is None:
        yield invalid(path, "the fault does nothing", "write delay or abort")
    if fault.delay is not None:
        here = (*path, "delay")
        yield from syntax.percent(fault.delay.percent, (*here, "percent"))
        yield from _percentage(fault.delay.percentage, here)
        if fault.delay.fixed_delay is None and fault.delay.exponential_delay is None:
            yield invalid(here, "there is no delay", "write fixedDelay")
        yield from syntax.duration(fault.delay.fixed_delay, (*here, "fixedDelay"))
    if fault.abort is not None:
        yield from _abort(fault.abort, (*path, "abort"))


def _abort(abort: vs.Abort, path: Path) -> Findings:
    yield from _percentage(abort.percentage, path)
    fields = {"http_status": "httpStatus", "grpc_status": "grpcStatus", "http2_error": "http2Error"}
    yield from syntax.exclusive(abort, fields, path, needed=True)
    if abort.http_status is not None:
        yield from syntax.status(abort.http_status, (*path, "httpStatus"))
    if abort.grpc_status is not None and abort.grpc_status.upper() not in _GRPC:
        hint = "a name such as UNAVAILABLE"
        message = f"{shown(abort.grpc_status)} is no status of gRPC"
        yield invalid((*path, "grpcStatus"), message, hint)


def _mirrors(route: vs.HTTPRoute, path: Path) -> Findings:
    yield from syntax.exclusive(route, {"mirror": "mirror", "mirrors": "mirrors"}, path)
    if route.mirror is not None:
        yield from destination(route.mirror, (*path, "mirror"))
    for i, mirror in enumerate(route.mirrors):
        yield from destination(mirror.destination, (*path, "mirrors", i, "destination"))
        yield from _percentage(mirror.percentage, (*path, "mirrors", i))
    yield from syntax.percent(route.mirror_percent, (*path, "mirrorPercent"))
    if route.mirror_percentage is not None:
        yield from syntax.percent(
            route.mirror_percentage.value, (*path, "mirrorPercentage", "value")
        )


def _percentage(share: vs.Percent | None, path: Path) -> Findings:
    if share is not None:
        yield from syntax.percent(share.value, (*path, "percentage", "value"))


def _cors(policy: vs.CorsPolicy | None, path: Path) -> Findings:
    if policy is None:
        return
    for i, origin in enumerate(policy.allow_origins):
        yield from _string(origin, (*path, "allowOrigins", i))
    for field, names in (
        ("allowHeaders", policy.allow_headers),
        ("exposeHeaders", policy.expose_headers),
    ):
        for i, name in enumerate(names):
            yield from syntax.header(name, (*path, field, i))
    yield from syntax.duration(policy.max_age, (*path, "maxAge"), zero=True)
