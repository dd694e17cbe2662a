"""What there is: versions, groups and resources, plain and aggregated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version as package_version
from typing import Any

from msgspec import Struct

from plait.config.catalog import KINDS, Kind

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class Below(Struct, frozen=True, kw_only=True):
    """A part of an object with a path of its own, and the kind of what is read there."""

    group: str
    version: str
    kind: str
    verbs: tuple[str, ...]


class Review(Struct, frozen=True, kw_only=True):
    """What is asked by making an object that is answered and not kept."""

    group: str
    version: str = "v1"
    plural: str
    kind: str

    @property
    def path(self) -> str:
        """Where it is made."""
        return f"/apis/{self.group}/{self.version}/{self.plural}"


VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
"""What objects take."""
STATUS_VERBS = ("get", "patch", "update")
"""What their status takes."""
REVIEWS = (
    Review(group="authentication.k8s.io", plural="selfsubjectreviews", kind="SelfSubjectReview"),
    Review(
        group="authorization.k8s.io",
        plural="selfsubjectaccessreviews",
        kind="SelfSubjectAccessReview",
    ),
    Review(
        group="authorization.k8s.io",
        plural="selfsubjectrulesreviews",
        kind="SelfSubjectRulesReview",
    ),
)
"""What is no kind of object, and is asked for by everybody."""
_SCALE = Below(group="autoscaling", version="v1", kind="Scale", verbs=STATUS_VERBS)
SUBRESOURCES: Mapping[str, Mapping[str, Below]] = {
    "Pod": {"log": Below(group="", version="v1", kind="Pod", verbs=("get",))},
    "Deployment": {"scale": _SCALE},
    "ReplicaSet": {"scale": _SCALE},
}
"""What some tables have below an object, beside its status."""
_ALL = ("pods", "services", "deployments", "replicasets")  # what ``kubectl get all`` gets
_MINOR = "37"  # of the Kubernetes whose API this follows


def version() -> dict[str, str]:
    """What ``/version`` answers: Kubernetes' version, as clients compare it, with plait's own."""
    return {
        "major": "1",
        "minor": _MINOR,
        "gitVersion": f"v1.{_MINOR}.0+plait.{package_version('plait')}",
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": "",
    }


def core_versions() -> dict[str, Any]:
    """What ``/api`` answers."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def groups() -> dict[str, Any]:
    """What ``/apis`` answers."""
    listed = [group(name) for name in (*_groups(), *_reviewing()) if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}


def group(name: str) -> dict[str, Any] | None:
    """What ``/apis/GROUP`` answers; None: there is no such group."""
    versions = _versions(name) or list(dict.fromkeys(one.version for one in _reviews(name)))
    if not versions or not name:
        return None
    listed = [{"groupVersion": f"{name}/{v}", "version": v} for v in versions]
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": name,
        "versions": listed,
        "preferredVersion": listed[0],
    }


def resources(name: str, version: str) -> dict[str, Any] | None:
    """What ``/api/v1`` and ``/apis/GROUP/VERSION`` answer; None: there is no such version."""
    kinds = _kinds(name, version)
    reviews = [one for one in _reviews(name) if one.version == version]
    if not kinds and not reviews:
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{name}/{version}" if name else version,
        "resources": [
            *(entry for kind in kinds for entry in _plain(kind)),
            *map(_plain_review, reviews),
        ],
    }


def aggregated(*, core: bool) -> dict[str, Any]:
    """All of ``/api`` or all of ``/apis`` in one answer."""
    names = [name for name in _groups() if (not name) == core]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": [
            *map(_aggregated, names),
            *(_aggregated_reviews(name) for name in _reviewing() if not core),
        ],
    }


def accepts_aggregated(accept: str) -> bool:
    """Does a client ask for the aggregated form, v2?"""
    wanted = {"g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList"}
    return any(
        wanted <= {part.strip() for part in media.split(";")[1:]} for media in accept.split(",")
    )


def group_versions() -> list[tuple[str, str]]:
    """Every group with each of its versions, the preferred first."""
    return [(name, version) for name in _groups() for version in _versions(name)]


def _reviewing() -> list[str]:
    """The groups of reviews, which have no objects."""
    return list(dict.fromkeys(one.group for one in REVIEWS))


def _reviews(name: str) -> list[Review]:
    return [one for one in REVIEWS if one.group == name]


def _groups() -> list[str]:
    return sorted({kind.group for kind in KINDS.values()})


def _versions(name: str) -> list[str]:
    return list(
        dict.fromkeys(v for kind in KINDS.values() if kind.group == name for v in kind.versions)
    )


def kinds_of(name: str, version: str) -> list[Kind]:
    """Kinds that a group has in a version, by plural."""
    return _kinds(name, version)


def _kinds(name: str, version: str) -> list[Kind]:
    found: Iterable[Kind] = KINDS.values()
    return sorted(
        (k for k in found if k.group == name and version in k.versions), key=lambda k: k.plural
    )


def _plain(kind: Kind) -> list[dict[str, Any]]:
    resource: dict[str, Any] = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": VERBS,
    }
    if kind.short:
        resource["shortNames"] = list(kind.short)
    if categories := _categories(kind):
        resource["categories"] = categories
    below = {
        "name": f"{kind.plural}/status",
        "singularName": "",
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": STATUS_VERBS,
    }
    return [resource, *_more(kind), below]


def _plain_review(review: Review) -> dict[str, Any]:
    return {
        "name": review.plural,
        "singularName": review.kind.lower(),
        "namespaced": False,
        "kind": review.kind,
        "verbs": ["create"],
    }


def _more(kind: Kind) -> list[dict[str, Any]]:
    """The other subresources in plain form."""
    return [
        {
            "name": f"{kind.plural}/{name}",
            "singularName": "",
            "namespaced": kind.namespaced,
            **({"group": found.group, "version": found.version} if found.group else {}),
            "kind": found.kind,
            "verbs": list(found.verbs),
        }
        for name, found in SUBRESOURCES.get(kind.table, {}).items()
    ]


def _aggregated(name: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "creationTimestamp": None},
        "versions": [
            {
                "version": version,
                "freshness": "Current",
                "resources": [_resource(name, version, kind) for kind in _kinds(name, version)],
            }
            for version in _versions(name)
        ],
    }


def _aggregated_reviews(name: str) -> dict[str, Any]:
    resources = [
        {
            "resource": one.plural,
            "responseKind": {"group": name, "version": one.version, "kind": one.kind},
            "scope": "Cluster",
            "singularResource": one.kind.lower(),
            "verbs": ["create"],
        }
        for one in _reviews(name)
    ]
    version = {"version": "v1", "freshness": "Current", "resources": resources}
    return {"metadata": {"name": name, "creationTimestamp": None}, "versions": [version]}


def _resource(name: str, version: str, kind: Kind) -> dict[str, Any]:
    response: Mapping[str, str] = {"group": name, "version": version, "kind": kind.kind}
    found: dict[str, Any] = {
        "resource": kind.plural,
        "responseKind": response,
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": VERBS,
        "subresources": [
            *(
                {
                    "subresource": below,
                    "responseKind": {
                        "group": one.group,
                        "version": one.version,
                        "kind": one.kind,
                    },
                    "verbs": list(one.verbs),
                }
                for below, one in SUBRESOURCES.get(kind.table, {}).items()
            ),
            {"subresource": "status", "responseKind": response, "verbs": STATUS_VERBS},
        ],
    }
    if kind.short:
        found["shortNames"] = list(kind.short)
    if categories := _categories(kind):
        found["categories"] = categories
    return found


def _categories(kind: Kind) -> list[str]:
    """Names under which several kinds are asked for at once."""
    if kind.group.endswith("istio.io"):
        return ["istio-io"]
    return ["all"] if kind.plural in _ALL else []
