"""Which connected proxy is meant by what a user calls it."""

from __future__ import annotations

from collections.abc import Iterable

from plait.config.catalog import KINDS
from plait.config.meta import Key
from plait.config.store import Store
from plait.mesh import workloads
from plait.serve.session import Session

_POD = KINDS["Pod"]
_PREFIXES = ("pod", "pods", "po", "deployment", "deployments", "deploy")


class UnknownProxyError(LookupError):
    """No connected proxy is meant, or more than one workload's; says which."""


def proxy(store: Store, sessions: Iterable[Session], said: str) -> Session:
    """The proxy with this node id, of this Pod, or the first of this workload.

    Pods and workloads are called ``NAME``, ``NAME.NAMESPACE``, ``NAMESPACE/NAME`` or ``KIND/NAME``.

    Raises:
        UnknownProxyError: none is connected, or workloads of several namespaces are meant.
    """
    found = {one.node.id: one for one in sessions if one.node is not None}
    if said in found:
        return found[said]
    pods = {node: pod(node) for node in sorted(found)}
    whole = _whole(said)
    mine = [node for node, key in pods.items() if whole in _words(key.name, key.namespace)]
    if not mine:
        names = {node: (workload(store, key), key.namespace) for node, key in pods.items()}
        mine = [node for node, name in names.items() if whole in _words(*name)]
    if not mine:
        raise UnknownProxyError(f'proxy "{said}" is not connected')
    spaces = sorted({pods[node].namespace for node in mine})
    if len(spaces) > 1:
        several = " or ".join(f"{whole}.{space}" for space in spaces)
        raise UnknownProxyError(f'several proxies are called "{said}"; say {several}')
    return found[mine[0]]


def pod(node: str, namespace: str = "") -> Key:
    """The Pod of a proxy, by its node id; `namespace`: as is known otherwise.

    A Pod's name may have dots in it.
    """
    name, domain = (*node.split("~"), "", "", "", "")[2:4]
    space = namespace or (name.rpartition(".")[2] if "." in name else domain.partition(".")[0])
    return _POD.key(space, name.removesuffix(f".{space}"))


def workload(store: Store, key: Key) -> str:
    """The workload that a Pod is of; its own name if it is of none."""
    found = store.engine.get(workloads.of_pod, key)
    return found.workload if found else key.name


def _whole(said: str) -> str:
    left, slash, right = said.partition("/")
    if not slash:
        return said
    return right if left.lower() in _PREFIXES else f"{right}.{left}"


def _words(name: str, namespace: str) -> tuple[str, str]:
    return name, f"{name}.{namespace}"
