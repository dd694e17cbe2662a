"""Who may do what at the API: three roles, and what a request asks for."""

from __future__ import annotations

from enum import Enum
from typing import Final

from aiohttp import web
from msgspec import Struct

from plait.serve.api.discovery import REVIEWS
from plait.serve.api.paths import Target

_READS: Final = ("get", "list", "watch")
_VERBS: Final = {
    "POST": ("create", "create"),
    "PUT": ("update", "update"),
    "PATCH": ("patch", "patch"),
    "DELETE": ("deletecollection", "delete"),
}
_PROGRAMS: Final = (("", "Pod"), ("apps", "Deployment"), ("apps", "ReplicaSet"))
_CLOSED: Final = ("/plait/v1/pods", "/plait/v1/api-tokens")
_REVIEWS: Final = frozenset(one.path for one in REVIEWS)


class Role(Enum):
    """What somebody is here for."""

    VIEWER = "viewer"
    EDITOR = "editor"
    ADMIN = "admin"


class User(Struct, frozen=True, kw_only=True):
    """Who asks.

    Attributes:
        name: for the history; empty: somebody on this machine.
        namespaces: where an editor may write.
    """

    name: str = ""
    role: Role
    namespaces: frozenset[str] = frozenset()


LOCAL: Final = User(role=Role.ADMIN)
"""Who is on this machine and reaches a door without a lock."""


CALLER: Final = web.RequestKey("caller", User)
"""Under which a request keeps who asks; nothing is there: it is `LOCAL`."""


class Ask(Struct, frozen=True, kw_only=True):
    """What is asked for.

    Attributes:
        verb: as Kubernetes has them, such as ``deletecollection``.
        target: the objects; None: `path` is a page.
    """

    verb: str
    path: str
    target: Target | None = None


def ask(method: str, path: str, target: Target | None, *, watch: bool) -> Ask:
    """What a request asks for."""
    if target is None:
        return Ask(verb=method.lower(), path=path)
    if method == "GET":
        verb = "get" if target.name else "watch" if watch else "list"
    else:
        verb = _VERBS.get(method, ("other", "other"))[bool(target.name)]
    return Ask(verb=verb, path=path, target=target)


def refusal(user: User, asked: Ask, *, runs: bool) -> str:
    """Why a user may not do that, in the words of Kubernetes; empty: they may.

    Everybody may ask what they may do.  A viewer reads all but Secrets.  An editor also writes
    what is in some namespaces, and reads the Secrets there.  An admin does everything.  Where Pods
    are programs of this machine (`runs`) no editor may say what runs: it would run as our own
    user, who has every key.
    """
    is_program = runs and _starts_programs(asked)
    if user.role is Role.ADMIN or (_may(user, asked) and not is_program):
        return ""
    who = f'User "{user.name}"'
    target = asked.target
    if target is None:
        return f'forbidden: {who} cannot {asked.verb} path "{asked.path}"'
    kind = target.kind
    resource = "/".join(filter(None, (kind.plural, target.subresource)))
    name = f' "{target.name}"' if target.name else ""
    place = f'in the namespace "{target.namespace}"' if target.namespace else "at the cluster scope"
    full = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
    more = ": Pods are programs of this machine, which an admin alone may start"
    return (
        f'{full}{name} is forbidden: {who} cannot {asked.verb} resource "{resource}" '
        f'in API group "{kind.group}" {place}{more if is_program else ""}'
    )


def _starts_programs(asked: Ask) -> bool:
    """Whether it says what runs in Pods; how many there are, and their end, says nothing of it."""
    target = asked.target
    if target is None or target.subresource or asked.verb not in ("create", "update", "patch"):
        return False
    return (target.kind.group, target.kind.kind) in _PROGRAMS


def _may(user: User, asked: Ask) -> bool:
    target = asked.target
    if target is None:
        return asked.path in _REVIEWS if asked.verb == "post" else _may_read(asked)
    is_secret = (target.kind.group, target.kind.kind) == ("", "Secret")
    if asked.verb in _READS and not is_secret:
        return True
    return user.role is Role.EDITOR and target.namespace in user.namespaces


def _may_read(asked: Ask) -> bool:
    """Whether a page is for everybody; of a path that ends with ``*``, whether all of them are."""
    start, star, _ = asked.path.partition("*")
    if star and any(one.startswith(start) for one in _CLOSED):
        return False
    return asked.verb == "get" and not asked.path.startswith(_CLOSED)
