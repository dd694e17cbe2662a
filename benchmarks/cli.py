"""What a command costs from start to end: ``python -m benchmarks.cli [ROUNDS]`` prints a table.

Wall and CPU time of the whole process, its interpreter's start included, on a control plane with
a few objects.  The commands take turns, so that a busy moment meets all of them.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.machine import headline, show, table
from tests.support import istio
from tests.support.plane import Plane

BIN = Path(sys.executable).parent


def measured(command: Sequence[str], environment: dict[str, str]) -> tuple[float, float]:
    """Wall and CPU seconds of one run.

    Raises:
        CalledProcessError: it failed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return wall, used


def commands(plane: Plane) -> dict[str, Sequence[str]]:
    """What is compared, by name."""
    kubectl = (str(BIN / "kubectl"), "--server", f"http://{plane.api}")
    plait = str(BIN / "plait")
    return {
        "python -c pass": (sys.executable, "-c", "pass"),
        "python -c 'import click'": (sys.executable, "-c", "import click"),
        "plait --help": (plait, "--help"),
        "plait get vs": (plait, "get", "vs"),
        "plait get vs -o yaml": (plait, "get", "vs", "-o", "yaml"),
        "plait status": (plait, "status"),
        "plait apply -f FILE (unchanged)": (plait, "apply", "-f", str(plane.directory / "a.json")),
        "kubectl get vs": (*kubectl, "get", "vs"),
    }


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    show(headline(f"whole processes, median of {rounds} rounds"))
    with tempfile.TemporaryDirectory() as directory, Plane(Path(directory)) as plane:
        plane.apply(istio.virtual_service("a", {"route": [istio.to("a")]}), wait=False)
        (plane.directory / "a.json").write_text(plane.run("get", "vs/a", "-o", "json"))
        environment = {**plane.environment, "KUBECONFIG": os.devnull}
        runs = commands(plane)
        for command in runs.values():  # kubectl keeps what it discovered
            measured(command, environment)
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
        for _ in range(rounds):
            for name, command in runs.items():
                found[name].append(measured(command, environment))
    rows = [
        [name, *(f"{median(column) * 1000:.0f}" for column in zip(*times, strict=True))]
        for name, times in found.items()
    ]
    show(table(["command", "wall ms", "CPU ms"], rows))


if __name__ == "__main__":
    main()
