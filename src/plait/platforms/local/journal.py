"""What is known of a Pod that outlives whoever started it: enough to go on with it, or to end it.

``RUN/pods/ID/journal.json``.  The Pod itself stands in it, so that a new platform goes on before
anybody asks it to, and knows Pods that nobody wants any more.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from plait.base import place as places
from plait.base.place import Place
from plait.base.processes import Handle
from plait.config.kinds.pod import Pod
from plait.config.meta import Key, Object
from plait.config.ports import Hidden, PodFiles
from plait.platforms.local.containers import Life


class Run(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One container: its life, and its process while it has one."""

    life: Life = Life()
    handle: Handle | None = None


class Journal(Struct, frozen=True, kw_only=True):
    """One Pod.

    Attributes:
        number: gives it its namespace and its address.
        created: seconds since the epoch when it came here.
        runs: by the container's name.
        is_networked: its namespace has been made.
        is_short: what Secrets give it is not in here, and has to be told anew.
    """

    pod: Object[Pod]
    files: PodFiles
    number: int
    created: float
    runs: Mapping[str, Run] = {}
    is_networked: bool = False
    is_short: bool = False


class Made(Struct, frozen=True):
    """Mount points that were made on this machine for Pods, and go when none needs them."""

    paths: tuple[str, ...] = ()


class Journals:
    """The journals of a mesh."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._made = place.run / "pods" / "mounts.json"

    def directory(self, pod: Key) -> Path:
        """Of one Pod."""
        return self._place.pod(pod.namespace, pod.name)

    def read_all(self) -> list[Journal]:
        """Of all Pods that there are; what cannot be read is as if it were not there."""
        files = sorted((self._place.run / "pods").glob("*/journal.json"))
        found = (places.read(file, Journal) for file in files)
        return [journal for journal in found if journal is not None]

    def write(self, journal: Journal) -> None:
        """Remember, but for what is secret."""
        if journal.files.hidden != Hidden():
            journal = replace(journal, files=replace(journal.files, hidden=Hidden()), is_short=True)
        places.write(self.directory(journal.pod.key) / "journal.json", journal)

    def forget(self, pod: Key) -> None:
        """Take a Pod's directory away, logs and files included."""
        with contextlib.suppress(OSError):  # first: half a directory is no Pod
            os.unlink(self.directory(pod) / "journal.json")
        shutil.rmtree(self.directory(pod), ignore_errors=True)

    def made(self) -> tuple[str, ...]:
        """Mount points that were made, the outer before the inner."""
        found = places.read(self._made, Made)
        return found.paths if found else ()

    def write_made(self, paths: tuple[str, ...]) -> None:
        """Replace them."""
        places.write(self._made, Made(paths))
