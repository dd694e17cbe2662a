"""Workloads as verbs name them: ``POD``, ``pod/NAME`` or ``deployment/NAME``."""

from __future__ import annotations

from typing import Any, NamedTuple

import click

from plait.ui.cli.client import Client

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


def pods(api: Client, target: Target) -> list[str]:
    """Names of the Pods that are meant, those that are ready first.

    Raises:
        ClickException: there is none.
    """
    if target.kind == "Pod":
        return [target.name]
    page = api.ask("GET", "/plait/v1/workloads").body
    found = workload(page, target)
    if found is None:
        raise click.ClickException(
            f'there is no {target} in namespace "{target.namespace}"; see: plait get deployments -A'
        )
    instances = sorted(found["instances"], key=lambda one: (not one["ready"], one["name"]))
    if not instances:
        raise click.ClickException(
            f"{target} has no Pod now; start one with: plait scale {target} --replicas 1"
        )
    return [one["name"] for one in instances]


def workload(page: dict[str, Any], target: Target) -> dict[str, Any] | None:
    """A workload in the page of all; None: it is not there."""
    wanted = (target.kind, target.namespace, target.name)
    for one in page["workloads"]:
        if (one["kind"], one["namespace"], one["name"]) == wanted:
            found: dict[str, Any] = one
            return found
    return None
