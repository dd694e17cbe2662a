"""Workloads as verbs name them: ``POD``, ``pod/NAME`` or ``deployment/NAME``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import quote

import click

from plait.ui.cli.client import Client, RefusedError

_KINDS = {
    **dict.fromkeys(("pod", "pods", "po"), "Pod"),
    **dict.fromkeys(("deployment", "deployments", "deploy", "deployment.apps"), "Deployment"),
}


class Target(NamedTuple):
    """What a user named."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """As kubectl prints it."""
        prefix = "deployment.apps" if self.kind == "Deployment" else "pod"
        return f"{prefix}/{self.name}"

    @property
    def path(self) -> str:
        """Where the API has it."""
        root = "/apis/apps/v1" if self.kind == "Deployment" else "/api/v1"
        plural = f"{self.kind.lower()}s"
        return f"{root}/namespaces/{quote(self.namespace)}/{plural}/{quote(self.name)}"


def parse(said: str, namespace: str) -> Target:
    """What is meant by ``NAME`` or ``KIND/NAME``.

    Raises:
        ClickException: there is no such kind of workload.
    """
    kind, slash, name = said.partition("/")
    if not slash:
        return Target("Pod", namespace, said)
    if kind.lower() not in _KINDS or not name:
        raise click.ClickException(f'"{said}": write POD or deployment/NAME')
    return Target(_KINDS[kind.lower()], namespace, name)


def deployment(said: str, namespace: str) -> Target:
    """The Deployment that is meant; the kind may be left out.

    Raises:
        ClickException: something else is meant.
    """
    found = parse(said if "/" in said else f"deployment/{said}", namespace)
    if found.kind != "Deployment":
        raise click.ClickException(f'"{said}" is no Deployment: write deployment/NAME')
    return found


@contextmanager
def expected(target: Target) -> Iterator[None]:
    """Tell the way out if what is asked of the API within is not there.

    Raises:
        ClickException: it is not there.
    """
    try:
        yield
    except RefusedError as error:
        if error.is_missing:
            raise _missing(target) from error
        raise


def pods(api: Client, target: Target) -> list[Target]:
    """The Pods that are meant, those that are ready first.

    Raises:
        ClickException: there is none.
    """
    if target.kind == "Pod":
        return [target]
    page = api.ask("GET", "/plait/v1/workloads").body
    found = _workload(page, target)
    if found is None:
        raise _missing(target)
    instances = sorted(found["instances"], key=lambda one: (not one["ready"], one["name"]))
    if not instances:
        raise click.ClickException(
            f"{target} has no Pod now; start one with: "
            f"plait scale deployment/{target.name} --replicas 1 -n {target.namespace}"
        )
    return [Target("Pod", target.namespace, one["name"]) for one in instances]


def _workload(page: dict[str, Any], target: Target) -> dict[str, Any] | None:
    wanted = (target.kind, target.namespace, target.name)
    for one in page["workloads"]:
        if (one["kind"], one["namespace"], one["name"]) == wanted:
            found: dict[str, Any] = one
            return found
    return None


def _missing(target: Target) -> click.ClickException:
    way = f"see: plait get {target.kind.lower()}s -A"
    if target.kind == "Pod":
        way += f"; of a Deployment: deployment/{target.name}"
    return click.ClickException(f'there is no {target} in namespace "{target.namespace}"; {way}')
