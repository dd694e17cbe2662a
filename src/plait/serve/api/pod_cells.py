"""How a Pod does, in the one word that ``kubectl get pods`` prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Document = Mapping[str, Any]


def ready(document: Document) -> str:
    """Containers that are ready, of all: ``1/2``."""
    total = len(document.get("spec", {}).get("containers") or ())
    return f"{sum(bool(one.get('ready')) for one in _states(document))}/{total}"


def restarts(document: Document) -> str:
    """How often containers were started again, together."""
    return str(sum(int(one.get("restartCount", 0)) for one in _states(document)))


def word(document: Document) -> str:
    """``Running``, ``Terminating``, or what keeps the Pod from running."""
    if document["metadata"].get("deletionTimestamp"):
        return "Terminating"
    status = document.get("status", {})
    if found := _initializing(status, len(document.get("spec", {}).get("initContainers") or ())):
        return f"Init:{found}"
    plain = str(status.get("reason") or status.get("phase") or "Pending")
    found = next(_reasons(_states(document)), plain)
    runs = any(one.get("ready") and "running" in one.get("state", {}) for one in _states(document))
    if found == "Completed" and runs:
        return "Running" if _holds(status, "Ready") else "NotReady"
    return found


def _states(document: Document) -> Iterable[Document]:
    found: Iterable[Document] = document.get("status", {}).get("containerStatuses") or ()
    return found


def _initializing(status: Document, total: int) -> str:
    """What the first init container that is not done does; empty: all are."""
    for place, one in enumerate(status.get("initContainerStatuses") or ()):
        state = one.get("state", {})
        ended = state.get("terminated")
        if ended is not None and not ended.get("exitCode"):
            continue
        if ended is not None:
            return _ended(ended)
        reason = (state.get("waiting") or {}).get("reason", "")
        return reason if reason not in ("", "PodInitializing") else f"{place}/{total}"
    return ""


def _reasons(states: Iterable[Document]) -> Iterator[str]:
    """Why containers do not run; the first container's word counts."""
    for one in states:
        state = one.get("state", {})
        if reason := (state.get("waiting") or {}).get("reason", ""):
            yield reason
        elif (ended := state.get("terminated")) is not None:
            yield _ended(ended)


def _ended(ended: Document) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    if ended.get("signal"):
        return f"Signal:{ended['signal']}"
    return f"ExitCode:{ended.get('exitCode', 0)}"


def _holds(status: Document, kind: str) -> bool:
    conditions = status.get("conditions") or ()
    return any(one.get("type") == kind and one.get("status") == "True" for one in conditions)
