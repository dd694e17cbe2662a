"""What a request is about: Kubernetes' paths and query parameters."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web
from msgspec import Struct

from plait.config.catalog import KINDS, Kind
from plait.config.meta import Key
from plait.serve.api import status

USER = web.RequestKey("user", str)
"""Under which a request keeps the name of who asks."""
_PLURALS: dict[tuple[str, str], Kind] = {(k.group, k.plural): k for k in KINDS.values()}
_GROUPS = frozenset(kind.group for kind in KINDS.values())
_DIGITS = 18  # of a number
_OF_NAMESPACES = ("status", "finalize")  # below /namespaces/NAME: not names of resources


class Target(Struct, frozen=True, kw_only=True):
    """What a path names.

    Attributes:
        namespace: None: all of them, or the kind has none.
        name: empty: the collection.
        subresource: such as ``status``; empty: the object itself.
    """

    kind: Kind
    version: str
    namespace: str | None = None
    name: str = ""
    subresource: str = ""

    @property
    def api_version(self) -> str:
        """``group/version`` of the request, which the answer has as well."""
        return f"{self.kind.group}/{self.version}" if self.kind.group else self.version

    @property
    def key(self) -> Key:
        """The object."""
        return self.named(self.name)

    def named(self, name: str) -> Key:
        """An object of the collection."""
        return self.kind.key(self.namespace or "", name)


def target(group: str, version: str, tail: str) -> Target:
    """Read what follows ``/api/v1/`` or ``/apis/GROUP/VERSION/``.

    Raises:
        StatusError: 404; no such group, version or resource.
    """
    if group not in _GROUPS:
        raise web.HTTPNotFound(text="404 page not found\n")
    parts = tail.strip("/").split("/")
    namespace: str | None = None
    if len(parts) > 2 and parts[0] == "namespaces" and parts[2] not in _OF_NAMESPACES:
        namespace, parts = parts[1], parts[2:]
    kind = _PLURALS.get((group, parts[0]))
    if kind is None or version not in kind.versions or len(parts) > 3:
        raise status.no_resource()
    if kind.namespaced != (namespace is not None) and (not kind.namespaced or len(parts) > 1):
        raise status.no_resource()
    name, subresource = [*parts[1:], "", ""][:2]
    return Target(
        kind=kind, version=version, namespace=namespace, name=name, subresource=subresource
    )


class Options(Struct, frozen=True, kw_only=True):
    """What a writing request says beside its body.

    Attributes:
        validation: ``Strict``, ``Warn`` or ``Ignore``.
        manager: field manager; the user agent up to its first ``/`` unless given.
        named: the request gave a field manager.
        user: who writes, for the history; empty: somebody on this machine.
    """

    dry_run: bool = False
    validation: str = "Warn"
    manager: str = ""
    named: bool = False
    user: str = ""
    force: bool = False


def options(request: web.Request) -> Options:
    """Read the query parameters of a write.

    Raises:
        StatusError: 422; a value is none of those allowed.
    """
    query = request.query
    dry_run = query.getall("dryRun", [])
    validation = query.get("fieldValidation", "Warn") or "Warn"
    if any(value not in ("", "All") for value in dry_run):
        raise status.unprocessable(
            f'dryRun: Unsupported value: "{dry_run[0]}": supported values: "All"'
        )
    if validation not in ("Strict", "Warn", "Ignore"):
        raise status.unprocessable(
            f'fieldValidation: Unsupported value: "{validation}": supported values: '
            '"Ignore", "Strict", "Warn"'
        )
    agent = request.headers.get("User-Agent", "unknown").partition("/")[0]
    return Options(
        dry_run="All" in dry_run,
        validation=validation,
        manager=query.get("fieldManager", "") or agent,
        named=bool(query.get("fieldManager")),
        force=is_true(query, "force"),
        user=request.get(USER, ""),
    )


def is_true(query: Mapping[str, str], name: str) -> bool:
    """Is a flag set?  Kubernetes takes ``1`` and ``true``; anything odd is no."""
    return query.get(name, "").lower() in ("1", "true")


def whole(query: Mapping[str, str], name: str, default: int) -> int:
    """A parameter that is a whole number, 0 or more; `default` where it is not given.

    Raises:
        StatusError: 400; it is none.
    """
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal()) or len(text) > _DIGITS:
        raise status.bad_request(f'{name}: Invalid value: "{text[:99]}": must be a whole number')
    return int(text)
