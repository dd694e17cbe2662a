"""What a Pod takes from other objects: variables and files, resolved, or why they cannot be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct, structs

from plait.base.query import Query
from plait.config.kinds.container import (
    ConfigMapKeySelector,
    Container,
    EnvFromSource,
    EnvVarSource,
    SecretKeySelector,
)
from plait.config.kinds.pod import Pod
from plait.config.kinds.volume import (
    ConfigMapProjection,
    DownwardAPIProjection,
    KeyToPath,
    SecretProjection,
    Volume,
    VolumeProjection,
)
from plait.config.meta import Key, Object
from plait.config.ports import Hidden, PodFile, PodFiles
from plait.controllers import templates
from plait.controllers.references import References, Values

_NAME: Final = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_MODE: Final = 0o644


class Errand(Struct, frozen=True, kw_only=True):
    """A Pod as it is handed to who runs it: without its state, and with what it needs.

    Attributes:
        problem: why nobody can run it; empty: one can try.
    """

    pod: Object[Pod]
    files: PodFiles
    problem: str = ""


class _Variable(Struct, frozen=True):
    value: str
    is_secret: bool = False


class _Content(Struct, frozen=True):
    """The files of a volume."""

    files: Mapping[str, PodFile] = {}
    is_secret: bool = False


def errand(q: Query, key: Key) -> Errand | None:
    """What is to run; None: there is no such Pod."""
    found: Object[Pod] | None = q.row("Pod", key)
    if found is None:
        return None
    spec = structs.replace(found.spec, status=None)
    problem = templates.spec_problem(spec.spec)
    return Errand(pod=structs.replace(found, spec=spec), files=q(files, key), problem=problem)


def files(q: Query, key: Key) -> PodFiles:
    """Variables and files of a Pod; of one that is going, none."""
    found: Object[Pod] | None = q.row("Pod", key)
    if found is None or found.deleted is not None:
        return PodFiles()
    references = References(q, found)
    spec = found.spec.spec
    env = {
        one.name: _variables(references, one) for one in (*spec.init_containers, *spec.containers)
    }
    volumes = {
        one.name: content
        for one in spec.volumes
        if (content := _volume(references, one)) is not None
    }
    return PodFiles(
        env={name: _chosen(variables, secret=False) for name, variables in env.items()},
        volumes={name: one.files for name, one in volumes.items() if not one.is_secret},
        hidden=Hidden(
            env={n: secrets for n, v in env.items() if (secrets := _chosen(v, secret=True))},
            volumes={name: one.files for name, one in volumes.items() if one.is_secret},
        ),
        problems=tuple(dict.fromkeys(references.problems)),
    )


# variables


def _chosen(variables: Mapping[str, _Variable], *, secret: bool) -> dict[str, str]:
    return {name: one.value for name, one in variables.items() if one.is_secret is secret}


def _variables(references: References, container: Container) -> dict[str, _Variable]:
    """The variables of a container whose values stand elsewhere."""
    found: dict[str, _Variable] = {}
    for all_of in container.env_from:
        found.update(_all(references, all_of))
    for variable in container.env:
        source = variable.value_from
        if source and (one := _value(references, variable.name, source)) is not None:
            found[variable.name] = one
    return found


def _all(references: References, source: EnvFromSource) -> Iterator[tuple[str, _Variable]]:
    values = None
    if (chosen := source.config_map_ref) is not None:
        values = references.config_map(chosen.name, optional=chosen.optional)
    elif (chosen := source.secret_ref) is not None:
        values = references.secret(chosen.name, optional=chosen.optional)
    for key in values.texts if values else ():
        name = f"{source.prefix}{key}"
        if values and _NAME.fullmatch(name) and (text := references.text(values, key)) is not None:
            yield name, _Variable(text, values.is_secret)


def _value(references: References, name: str, source: EnvVarSource) -> _Variable | None:
    if source.field_ref is not None:
        text = references.variable(name, source.field_ref)
        return None if text is None else _Variable(text)
    if (chosen := source.config_map_key_ref) is not None:
        found = references.config_map(chosen.name, optional=chosen.optional)
        return _keyed(references, found, chosen)
    if (secret := source.secret_key_ref) is not None:
        found = references.secret(secret.name, optional=secret.optional)
        return _keyed(references, found, secret)
    return None


def _keyed(
    references: References, found: Values | None, asked: ConfigMapKeySelector | SecretKeySelector
) -> _Variable | None:
    if found is None:
        return None
    if asked.key not in found.texts:
        if not asked.optional:
            references.lacks(found, asked.key)
        return None
    text = references.text(found, asked.key)
    return None if text is None else _Variable(text, found.is_secret)


# volumes


def _volume(references: References, volume: Volume) -> _Content | None:
    """The files of a volume; None: it has none to begin with."""
    parts, mode = _parts(volume)
    if parts is None:
        return None
    files = dict(
        file
        for part in parts
        for file in _projected(references, part, _MODE if mode is None else mode)
    )
    return _Content(files, is_secret=any(part.secret is not None for part in parts))


def _parts(volume: Volume) -> tuple[tuple[VolumeProjection, ...] | None, int | None]:
    """What a volume is put together from, None: not from objects; and the mode of its files."""
    if (config := volume.config_map) is not None:
        one = ConfigMapProjection(name=config.name, items=config.items, optional=config.optional)
        return (VolumeProjection(config_map=one),), config.default_mode
    if (source := volume.secret) is not None:
        name, items = source.secret_name, source.items
        secret = SecretProjection(name=name, items=items, optional=source.optional)
        return (VolumeProjection(secret=secret),), source.default_mode
    if (own := volume.downward_api) is not None:
        fields = DownwardAPIProjection(items=own.items)
        return (VolumeProjection(downward_api=fields),), own.default_mode
    if volume.projected is not None:
        return volume.projected.sources, volume.projected.default_mode
    return None, None


def _projected(
    references: References, part: VolumeProjection, mode: int
) -> Iterator[tuple[str, PodFile]]:
    """The files of one part, by their paths; `mode` for those that have none of their own."""
    if (config := part.config_map) is not None:
        found = references.config_map(config.name, optional=config.optional)
        yield from _files(references, found, config, mode)
    if (secret := part.secret) is not None:
        found = references.secret(secret.name, optional=secret.optional)
        yield from _files(references, found, secret, mode)
    for item in part.downward_api.items if part.downward_api else ():
        if item.field_ref is not None:
            content = references.file(item.path, item.field_ref)
            yield item.path, PodFile(content, mode if item.mode is None else item.mode)


def _files(
    references: References,
    found: Values | None,
    asked: ConfigMapProjection | SecretProjection,
    mode: int,
) -> Iterator[tuple[str, PodFile]]:
    """All values, or those that are named, where they shall be."""
    if found is None:
        return
    for item in asked.items or [KeyToPath(key=key, path=key) for key in found.content]:
        if item.key in found.content:
            own = mode if item.mode is None else item.mode
            yield item.path, PodFile(found.content[item.key], own)
        elif not asked.optional:
            references.lacks(found, item.key)
