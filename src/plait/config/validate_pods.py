"""Rules about ConfigMaps and about what Pods are made of: names that become files, and references.

A Pod's volumes and logs are files of this machine, named after what is written here: no name may
lead out of the Pod's own directory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from plait.config import syntax
from plait.config.document import Path
from plait.config.finding import invalid, shown
from plait.config.kinds.container import Container
from plait.config.kinds.core import ConfigMap
from plait.config.kinds.pod import Pod, PodSpec
from plait.config.kinds.volume import DownwardAPIVolumeFile, KeyToPath, Volume
from plait.config.kinds.workloads import Deployment, ReplicaSet
from plait.config.meta import Object
from plait.config.syntax import Findings

LARGEST: Final = 1024 * 1024
"""Bytes that all values of a ConfigMap or Secret may have together, as in Kubernetes."""

_KEY: Final = re.compile(r"(?!\.$|\.\.)[-._a-zA-Z0-9]{1,253}")
_VARIABLE: Final = re.compile(r"[^\0=]+")
_MODES: Final = range(0o1000)


def value_name(name: str, path: Path) -> Findings:
    """The name of a value in a ConfigMap or Secret: it becomes the name of a file."""
    if not _KEY.fullmatch(name):
        hint = "up to 253 letters, digits, -, _ and ., and no .. in front"
        yield invalid(path, f"{shown(name)} is no name of a value", hint)


def config_map(found: Object[ConfigMap], path: Path) -> Findings:
    """All that is wrong with a ConfigMap."""
    spec = found.spec
    for field, names in (("data", spec.data), ("binaryData", spec.binary_data)):
        for name in sorted(names):
            yield from value_name(name, (*path, field, name))
    for name in sorted(spec.data.keys() & spec.binary_data.keys()):
        yield invalid((*path, "binaryData", name), "data has the same name", "write it once")
    size = sum(len(text.encode(errors="replace")) for text in spec.data.values())
    size += sum(map(len, spec.binary_data.values()))
    if size > LARGEST:
        hint = f"all values together may have {LARGEST} bytes"
        yield invalid((*path, "data"), f"the values have {size} bytes", hint)


def pod(found: Object[Pod], path: Path) -> Findings:
    """All that is wrong with a Pod."""
    yield from _spec(found.spec.spec, (*path, "spec"))


def workload(found: Object[Deployment] | Object[ReplicaSet], path: Path) -> Findings:
    """All that is wrong with the Pods that a Deployment or ReplicaSet makes."""
    yield from _spec(found.spec.template.spec, (*path, "template", "spec"))


def _spec(spec: PodSpec, path: Path) -> Findings:
    volumes = {one.name for one in spec.volumes}
    for i, volume in enumerate(spec.volumes):
        yield from syntax.label(volume.name, (*path, "volumes", i, "name"), "name of a volume")
        yield from _volume(volume, (*path, "volumes", i))
    names = [(one.name, (*path, "volumes", i, "name")) for i, one in enumerate(spec.volumes)]
    yield from syntax.unique(names, "volume")
    every = [
        (container, (*path, field, i))
        for field, containers in (
            ("initContainers", spec.init_containers),
            ("containers", spec.containers),
        )
        for i, container in enumerate(containers)
    ]
    for container, here in every:
        yield from _container(container, here, volumes)
    yield from syntax.unique([(one.name, (*here, "name")) for one, here in every], "container")


def _container(container: Container, path: Path, volumes: set[str]) -> Findings:
    yield from syntax.label(container.name, (*path, "name"), "name of a container")
    for i, variable in enumerate(container.env):
        if not _VARIABLE.fullmatch(variable.name):
            hint = "any characters but ="
            message = f"{shown(variable.name)} is no name of a variable"
            yield invalid((*path, "env", i, "name"), message, hint)
    for i, mount in enumerate(container.volume_mounts):
        here = (*path, "volumeMounts", i)
        if mount.name not in volumes:
            hint = f"one of {', '.join(sorted(volumes))}" if volumes else "write it in volumes"
            yield invalid((*here, "name"), f"there is no volume {shown(mount.name)}", hint)
        if not mount.mount_path.startswith("/"):
            message = f"{shown(mount.mount_path)} is no path from / on"
            yield invalid((*here, "mountPath"), message, "such as /etc/app")
        if mount.sub_path:
            yield from _within(mount.sub_path, (*here, "subPath"))


def _volume(volume: Volume, path: Path) -> Findings:
    for field, source in (("configMap", volume.config_map), ("secret", volume.secret)):
        if source is not None:
            yield from _items(source.items, (*path, field, "items"))
            yield from _mode(source.default_mode, (*path, field, "defaultMode"))
    if volume.downward_api is not None:
        yield from _items(volume.downward_api.items, (*path, "downwardAPI", "items"))
        yield from _mode(volume.downward_api.default_mode, (*path, "downwardAPI", "defaultMode"))
    if volume.projected is not None:
        here = (*path, "projected")
        yield from _mode(volume.projected.default_mode, (*here, "defaultMode"))
        for i, part in enumerate(volume.projected.sources):
            for field, inner in (
                ("configMap", part.config_map),
                ("secret", part.secret),
                ("downwardAPI", part.downward_api),
            ):
                if inner is not None:
                    yield from _items(inner.items, (*here, "sources", i, field, "items"))


def _items(items: Iterable[KeyToPath | DownwardAPIVolumeFile], path: Path) -> Findings:
    for i, item in enumerate(items):
        yield from _within(item.path, (*path, i, "path"))
        yield from _mode(item.mode, (*path, i, "mode"))


def _within(written: str, path: Path) -> Findings:
    """A path below some directory, that cannot lead out of it."""
    if not written or written.startswith("/") or ".." in written.split("/") or "\0" in written:
        hint = 'a path that does not begin with / and has no ".." in it'
        yield invalid(path, f"{shown(written)} is no path within the volume", hint)


def _mode(mode: int | None, path: Path) -> Findings:
    if mode is not None and mode not in _MODES:
        hint = "from 0 to 0777; YAML reads 0644 as octal, JSON wants 420"
        yield invalid(path, f"{mode} is no mode of a file", hint)
