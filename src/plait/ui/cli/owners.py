"""Whose the fields of an object are: what `plait apply` takes over, and from whom not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

MANAGER = "plait"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_APPLIERS = (("kubectl-client-side-apply", "Update"), ("kubectl", "Apply"))
_NOBODY = "before-first-apply"  # the API's name for whoever set fields that nobody owns


def handed_over(live: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The object's managedFields with what kubectl applied handed to plait; empty: nothing is.

    As kubectl does when it changes from client-side to server-side apply: otherwise a field that
    both have set would stay when it is taken out of the file.
    """
    entries = live["metadata"].get("managedFields") or []
    theirs = [one for one in entries if _is_applied(one)]
    if not theirs:
        return []
    ours = [one for one in entries if (one["manager"], one["operation"]) == (MANAGER, "Apply")]
    fields: dict[str, Any] = {}
    for one in (*ours, *theirs):
        fields = _joined(fields, one.get("fieldsV1") or {})
    own = {
        **theirs[0],
        "manager": MANAGER,
        "operation": "Apply",
        "apiVersion": live["apiVersion"],
        "fieldsV1": fields,
    }
    return [own, *(one for one in entries if one not in theirs and one not in ours)]


def _is_applied(entry: Mapping[str, Any]) -> bool:
    who = (entry["manager"], entry["operation"])
    return who in _APPLIERS and not entry.get("subresource")


def _joined(left: dict[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    """Two sets of fields in the form of fieldsV1 as one."""
    both = {name: _joined(left[name], part) for name, part in right.items() if name in left}
    return {**left, **right, **both}


def remembered(body: dict[str, Any], live: Mapping[str, Any]) -> dict[str, Any]:
    """The object to apply, with kubectl's note of what was applied if `live` has one.

    A later ``kubectl apply`` finds by it what was taken out of the file since.
    """
    noted = live["metadata"].get("annotations", {}).get(LAST_APPLIED)
    if noted is None:
        return body
    metadata = body["metadata"]
    annotations = {k: v for k, v in metadata.get("annotations", {}).items() if k != LAST_APPLIED}
    applied = {**body, "metadata": {**metadata, "annotations": annotations}}
    if _parsed(noted) != applied:
        noted = json.dumps(applied, separators=(",", ":"), sort_keys=True) + "\n"
    return {**body, "metadata": {**metadata, "annotations": {**annotations, LAST_APPLIED: noted}}}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def strangers(causes: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Managers that an apply was refused for, with their fields; kubectl's verbs are none.

    A user who writes by hand means what the file says, whatever the tool was before; another
    program that owns a field will write it again.
    """
    found: dict[str, list[str]] = {}
    for cause in causes:
        manager = (*str(cause.get("message", "")).split('"'), "")[1]
        if not manager.startswith("kubectl") and manager != _NOBODY:
            found.setdefault(manager, []).append(str(cause.get("field", "")))
    return found
