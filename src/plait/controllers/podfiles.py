"""What a Pod takes from other objects: variables and files, resolved, or why they cannot be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from msgspec import Struct, structs

from plait.base.query import Query
from plait.config import catalog
from plait.config.kinds.container import Container, EnvFromSource, EnvVar, ObjectFieldSelector
from plait.config.kinds.core import ConfigMap
from plait.config.kinds.pod import Pod
from plait.config.kinds.volume import ConfigMapVolumeSource, KeyToPath, Volume
from plait.config.meta import Key, Object
from plait.config.ports import PodFiles
from plait.controllers import templates

_NAME: Final = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_MAP_KEY: Final = re.compile(r"(labels|annotations)\['([^']*)'\]")
_NO_SECRETS: Final = "Pods are not given Secrets yet: use a ConfigMap, or mark it as optional"


class Errand(Struct, frozen=True, kw_only=True):
    """A Pod as it is handed to who runs it: without its state, and with what it needs.

    Attributes:
        problem: why nobody can run it; empty: one can try.
    """

    pod: Object[Pod]
    files: PodFiles
    problem: str = ""


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
    needs = _Needs(q, found)
    spec = found.spec.spec
    containers = (*spec.init_containers, *spec.containers)
    env = {one.name: needs.variables(one) for one in containers}
    volumes = {
        one.name: content for one in spec.volumes if (content := needs.volume(one)) is not None
    }
    return PodFiles(env=env, volumes=volumes, problems=tuple(dict.fromkeys(needs.problems)))


class _Needs:
    """Looks up what one Pod needs, and notes what is missing."""

    def __init__(self, q: Query, pod: Object[Pod]) -> None:
        self.problems: list[str] = []
        self._q = q
        self._pod = pod

    def variables(self, container: Container) -> dict[str, str]:
        """The variables of a container whose values stand elsewhere."""
        found: dict[str, str] = {}
        for source in container.env_from:
            found.update(self._all(source))
        for variable in container.env:
            if variable.value_from is not None:
                value = self._value(variable)
                if value is not None:
                    found[variable.name] = value
        return found

    def volume(self, volume: Volume) -> dict[str, bytes] | None:
        """The files of a volume; None: it has none to begin with."""
        if volume.config_map is not None:
            return self._files(volume.config_map)
        if volume.secret is not None and not volume.secret.optional:
            name = volume.secret.secret_name
            self.problems.append(
                f'volume "{volume.name}": secret "{name}" not found. {_NO_SECRETS}'
            )
        return None

    def _files(self, source: ConfigMapVolumeSource) -> dict[str, bytes]:
        found = self._config_map(source.name, optional=bool(source.optional))
        if found is None:
            return {}
        content = _content(found)
        if not source.items:
            return content
        return dict(self._chosen(source, source.items, content))

    def _chosen(
        self,
        source: ConfigMapVolumeSource,
        items: Iterable[KeyToPath],
        content: Mapping[str, bytes],
    ) -> Iterator[tuple[str, bytes]]:
        for item in items:
            if item.key in content:
                yield item.path, content[item.key]
            elif not source.optional:
                self._lacks(source.name, item.key)

    def _all(self, source: EnvFromSource) -> dict[str, str]:
        if source.secret_ref is not None and not source.secret_ref.optional:
            name = source.secret_ref.name
            self.problems.append(f'secret "{name}" not found. {_NO_SECRETS}')
        reference = source.config_map_ref
        if reference is None:
            return {}
        found = self._config_map(reference.name, optional=bool(reference.optional))
        named = {
            f"{source.prefix}{key}": text for key, text in (found.data if found else {}).items()
        }
        return {name: text for name, text in named.items() if _NAME.fullmatch(name)}

    def _value(self, variable: EnvVar) -> str | None:
        source = variable.value_from
        if source is None:
            return variable.value
        if source.field_ref is not None:
            return self._field(variable.name, source.field_ref)
        if source.config_map_key_ref is not None:
            chosen = source.config_map_key_ref
            found = self._config_map(chosen.name, optional=bool(chosen.optional))
            if found is not None and chosen.key not in found.data and not chosen.optional:
                self._lacks(chosen.name, chosen.key)
            return found.data.get(chosen.key) if found else None
        if source.secret_key_ref is not None and not source.secret_key_ref.optional:
            name = source.secret_key_ref.name
            self.problems.append(f'secret "{name}" not found. {_NO_SECRETS}')
        return None

    def _field(self, variable: str, reference: ObjectFieldSelector) -> str | None:
        """A field of the Pod; those of its addresses are left to the platform."""
        path, pod = reference.field_path, self._pod
        plain = {
            "metadata.name": pod.key.name,
            "metadata.namespace": pod.key.namespace,
            "metadata.uid": pod.uid,
            "spec.nodeName": pod.spec.spec.node_name,
            "spec.serviceAccountName": pod.spec.spec.service_account_name or "default",
        }
        if path in plain:
            return plain[path]
        if chosen := _MAP_KEY.fullmatch(path.removeprefix("metadata.")):
            kept = pod.labels if chosen.group(1) == "labels" else pod.annotations
            return kept.get(chosen.group(2), "")
        if path not in _ADDRESSES:
            self.problems.append(f'variable "{variable}": a Pod has no field "{path}" to refer to')
        return None

    def _config_map(self, name: str, *, optional: bool) -> ConfigMap | None:
        key = catalog.KINDS["ConfigMap"].key(self._pod.key.namespace, name)
        found: Object[ConfigMap] | None = self._q.row("ConfigMap", key)
        if found is None and not optional:
            self.problems.append(f'configmap "{name}" not found')
        return found.spec if found else None

    def _lacks(self, name: str, key: str) -> None:
        self.problems.append(
            f"couldn't find key {key} in ConfigMap {self._pod.key.namespace}/{name}"
        )


_ADDRESSES: Final = ("status.podIP", "status.podIPs", "status.hostIP", "status.hostIPs")


def _content(found: ConfigMap) -> dict[str, bytes]:
    return {**{name: text.encode() for name, text in found.data.items()}, **found.binary_data}
