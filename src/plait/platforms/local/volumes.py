"""A Pod's files: what is mounted for it, and the places where that is seen."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from plait.config.kinds.container import Container, VolumeMount
from plait.config.kinds.pod import Pod
from plait.config.kinds.volume import Volume
from plait.config.meta import Object
from plait.config.ports import PodFile
from plait.platforms.local import surroundings
from plait.platforms.local.members import mounted

Mounts = tuple[tuple[str, str], ...]
_SYSTEM = ("resolv.conf", "hosts", "hostname")


def write(
    directory: Path, pod: Object[Pod], address: str, files: Mapping[str, Mapping[str, PodFile]]
) -> None:
    """Write a Pod's files below its directory; what changed is seen by who runs already.

    Only its containers see its volumes: they are mounted from where nobody else may go.

    Raises:
        OSError: they cannot be written.
    """
    system = {
        "resolv.conf": surroundings.resolv_conf(pod),
        "hosts": surroundings.hosts(pod, address),
        "hostname": f"{surroundings.hostname(pod)}\n",
    }
    (directory / "etc").mkdir(exist_ok=True)
    for name, text in system.items():
        _rewrite(directory / "etc" / name, PodFile(text.encode()))
    (directory / "volumes").mkdir(exist_ok=True, mode=0o700)
    for volume in pod.spec.spec.volumes:
        place = directory / "volumes" / volume.name
        place.mkdir(exist_ok=True)
        if volume.name in files:
            _fill(place, files[volume.name])
        elif volume.empty_dir is not None:
            place.chmod(0o777)


def mounts(directory: Path, pod: Object[Pod], container: Container) -> Mounts:
    """What a container sees where; outer places before inner ones."""
    volumes = {volume.name: volume for volume in pod.spec.spec.volumes}
    found = {f"/etc/{name}": str(directory / "etc" / name) for name in _SYSTEM}
    for mount in container.volume_mounts:
        if mount.name in volumes:
            found[os.path.normpath(mount.mount_path)] = _source(directory, volumes, mount)
    return tuple((found[where], where) for where in sorted(found))


def missing_places(mounts: Mounts) -> tuple[str, ...]:
    """Places, and directories above them, that this machine lacks; the outer before the inner."""
    found: dict[str, None] = {}
    for _, where in mounts:
        above = [path for path in Path(where).parents if not path.exists()]
        found.update(dict.fromkeys(str(path) for path in reversed(above)))
        if not Path(where).exists():
            found[where] = None
    return tuple(found)


def make_places(mounts: Mounts) -> None:
    """Make the places that this machine lacks.

    Raises:
        OSError: one cannot be made.
    """
    for what, where in mounts:
        path = Path(where)
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if Path(what).is_dir():
            path.mkdir()
        else:
            path.touch()


def take_places(made: Iterable[str], used: Collection[str]) -> tuple[str, ...]:
    """Take away places that were made; return those that are left.

    Those in `used` stay, and those where any process of this machine still sees a mount.
    """
    paths = tuple(dict.fromkeys(made))
    if not paths:
        return ()
    taken = {*used, *mounted()}
    left = []
    for path in sorted(paths, reverse=True):
        if any(one == path or one.startswith(f"{path}/") for one in taken):
            left.append(path)
            continue
        with contextlib.suppress(OSError):  # somebody put something there: theirs now
            if os.path.isdir(path):
                os.rmdir(path)
            elif os.path.getsize(path) == 0:
                os.unlink(path)
    return tuple(sorted(left))


def _source(directory: Path, volumes: Mapping[str, Volume], mount: VolumeMount) -> str:
    host_path = volumes[mount.name].host_path
    source = Path(host_path.path) if host_path else directory / "volumes" / mount.name
    return str(source / mount.sub_path if mount.sub_path else source)


def _fill(place: Path, files: Mapping[str, PodFile]) -> None:
    """Make a directory hold exactly these files."""
    place.chmod(0o755)
    for name, file in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _rewrite(path, file)
    wanted = {name.split("/")[0] for name in files}
    for path in place.iterdir():
        if path.name not in wanted:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _rewrite(path: Path, file: PodFile) -> None:
    """In place: a file that is mounted by itself keeps its inode."""
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == file.content and path.stat().st_mode & 0o777 == file.mode:
            return
    path.write_bytes(file.content)
    path.chmod(file.mode)
