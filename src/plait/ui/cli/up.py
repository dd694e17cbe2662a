"""``plait up``: the services in a directory of YAML, running on this machine as a mesh."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from shlex import quote
from typing import Any

import click

from plait.ui.cli.client import Client
from plait.ui.cli.local import Machine

_TICK = 0.1  # seconds between two looks
_WIDTH = 28
_EXAMPLE = """
Example, which runs what stands in a directory, and ends it:
plait up mesh/ · plait status · plait logs deployment/web · plait down
"""


@click.command(epilog=_EXAMPLE)
@click.argument("directory", default=".", type=click.Path(path_type=Path))
@click.option(
    "--images", type=Path, help="What images are; by default images.toml in the directory."
)
@click.option("--data", type=Path, help="Directory of what runs; one for each mesh.")
@click.option("--api", help="Where the API listens for kubectl: HOST:PORT.")
@click.option("--timeout", default=120.0, show_default=True, help="Seconds to wait at most.")
@click.option("--wait/--no-wait", default=True, help="Return when everything is ready.")
def command(**given: Any) -> None:
    """Run the workloads of a directory's YAML, each behind its own Envoy, in the background.

    Deployments run as processes with an address, DNS and a sidecar each; gateways are reached
    at ports of 127.0.0.1.  The directory is followed: what is edited takes effect.  If it runs
    already, this shows how it does.
    """
    from plait import settings

    directory = given["directory"]
    if not directory.exists():
        raise click.ClickException(f"there is no directory {directory}; write: plait up DIRECTORY")
    machine = Machine(given["data"] or settings.local_data())
    hint = _Hint(machine, is_usual=machine.data == settings.local_data().absolute())
    images = given["images"] or _beside(directory) / "images.toml"
    watch = _Stopwatch()
    found = machine.running()
    if found is None:
        machine.begin(directory.absolute(), images.absolute(), given["api"])
    else:
        mesh, _ = found
        if mesh.files != str(directory.absolute()):
            raise click.ClickException(
                f"{mesh.files} runs here already. End it with: {hint.down}, or run this one "
                "beside it with --data DIRECTORY"
            )
        click.echo("it runs already")
        machine.join(found[1])  # it may just have been started
    watch.lap("control plane")
    _line("control plane", "answers", watch.total)
    if given["wait"]:
        _follow(machine.client(), watch, given["timeout"], hint)


def _beside(files: Path) -> Path:
    return files if files.is_dir() else files.parent


class _Hint:
    """What to type next: with the data directory where it is not the usual one."""

    def __init__(self, machine: Machine, *, is_usual: bool) -> None:
        server, data = quote(machine.server), quote(str(machine.data))
        self.status = "plait status" if is_usual else f"plait --server {server} status"
        self.down = "plait down" if is_usual else f"plait down --data {data}"


def _follow(api: Client, watch: _Stopwatch, timeout: float, hint: _Hint) -> None:
    """Tell what becomes ready, until everything is, or cannot.

    Raises:
        SystemExit: with 1: something is not ready.
    """
    shown = _Shown(watch)
    while True:
        page = api.ask("GET", "/plait/v1/workloads").body
        shown.look(page)
        if shown.is_settled(page):
            break
        if watch.total > timeout:
            shown.tell_late(page)
            break
        time.sleep(_TICK)
    failed = [one for one in page["workloads"] if not _is_there(one)]
    failed += [door for door in page["doors"] if not door["open"]]
    status = api.ask("GET", "/plait/v1/status").body
    failed += shown.tell_faults(status["faults"])
    failed += shown.tell_findings(status["objects"])
    click.echo(f"\n{watch}" if not failed else f"\nnot all up after {watch.total:.1f} s")
    for words in page.get("weaknesses", ()):
        click.echo(f"Identities are less safe than they could be: {words}")
    if failed:
        click.echo(f"Not everything runs: see {hint.status}.  End it with: {hint.down}", err=True)
        raise SystemExit(1)
    if not (page["workloads"] or failed):
        click.echo("There is no workload in it yet: add a Deployment, and it runs")
    click.echo(f"See how it does with: {hint.status}.  End it with: {hint.down}")


class _Stopwatch:
    """Where the time went."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._laps: dict[str, float] = {}

    @property
    def total(self) -> float:
        return time.monotonic() - self._begun

    def lap(self, name: str) -> None:
        self._laps[name] = self.total

    def __str__(self) -> str:
        laps = sorted(self._laps.items(), key=lambda lap: lap[1])
        starts = [0.0, *(end for _, end in laps)]
        parts = [
            f"{name} {end - start:.1f} s" for (name, end), start in zip(laps, starts, strict=False)
        ]
        return f"up after {starts[-1]:.1f} s: {', '.join(parts)}"


class _Shown:
    """What was told already."""

    def __init__(self, watch: _Stopwatch) -> None:
        self._watch = watch
        self._ready: set[str] = set()
        self._troubles: set[tuple[str, str]] = set()

    def look(self, page: dict[str, Any]) -> None:
        """Tell what is new."""
        instances = [i for one in page["workloads"] for i in one["instances"]]
        if instances and not all(i["proxied"] for i in instances):
            self._watch.lap("sidecars")
        for one in page["workloads"]:
            name = f"{one['namespace']}/{one['name']}"
            if one["ready"] >= one["desired"]:
                self._tell_ready(name, f"{one['ready']} of {one['desired']} ready")
            elif _is_there(one):
                self._tell_ready(name, "completed")
            for reason, message in _troubles(one):
                self._tell_trouble(name, f"{reason}: {message}", reason)
        for door in page["doors"]:
            url = f"http://{door['address']}"
            if door["open"]:
                self._tell_ready("gateway", url, name=url)
            elif door["problem"]:
                self._tell_trouble(url, door["problem"])

    def is_settled(self, page: dict[str, Any]) -> bool:
        """Whether everything is ready, or in trouble that waiting does not mend."""
        workloads = all(
            _is_there(one) or any(reason for reason, _ in _troubles(one))
            for one in page["workloads"]
        )
        doors = all(door["open"] or door["problem"] for door in page["doors"])
        return workloads and doors

    def tell_late(self, page: dict[str, Any]) -> None:
        """Name what is not ready when there is no more time."""
        for one in page["workloads"]:
            if not _is_there(one) and not any(_troubles(one)):
                said = "; ".join(i["message"] or i["phase"] for i in one["instances"])
                self._tell_trouble(
                    f"{one['namespace']}/{one['name']}",
                    f"not ready after {self._watch.total:.0f} s: {said or one['message']}",
                )

    def tell_faults(self, faults: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Name what of the files cannot be read; all of it is returned."""
        for fault in faults:
            self._tell_trouble(fault["locator"] or fault["source"], fault["problem"])
        return faults

    def tell_findings(self, objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Name what is wrong with objects, and what of them has no effect; errors are returned."""
        found = [(one["object"], finding) for one in objects for finding in one["findings"]]
        for name, finding in found:
            path = f"{finding['path']}: " if finding["path"] else ""
            hint = f". {finding['hint']}" if finding["hint"] else ""
            text = f"{finding['severity']} {name}: {finding['code']} {path}{finding['message']}"
            self._tell_trouble(finding["locator"], text + hint)
        return [finding for _, finding in found if finding["severity"] == "error"]

    def _tell_ready(self, what: str, how: str, *, name: str = "") -> None:
        if (name or what) not in self._ready:
            self._ready.add(name or what)
            self._watch.lap("gateways" if what == "gateway" else "applications")
            _line(what, how, self._watch.total)

    def _tell_trouble(self, what: str, message: str, kind: str = "") -> None:
        if (what, kind or message) not in self._troubles:  # waits of a crash loop only grow
            self._troubles.add((what, kind or message))
            click.echo(f"  {what:<{_WIDTH}}  {message}", err=True)


def _is_there(workload: dict[str, Any]) -> bool:
    """Whether all instances are ready, or have done what they were to do."""
    instances = workload["instances"]
    has_succeeded = bool(instances) and all(one["phase"] == "Succeeded" for one in instances)
    return has_succeeded or workload["ready"] >= workload["desired"]


def _troubles(workload: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """Reasons and messages of instances that will not become ready by themselves."""
    if workload["message"]:
        yield "Failed", workload["message"]
    for one in workload["instances"]:
        if one["reason"]:
            yield one["reason"], one["message"]


def _line(what: str, how: str, seconds: float) -> None:
    click.echo(f"  {what:<{_WIDTH}}  {how:<26} {seconds:5.1f} s")
