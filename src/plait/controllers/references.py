"""What a Pod refers to: ConfigMaps, Secrets and its own fields, or why there is no such thing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

from plait.base.query import Query
from plait.config import catalog
from plait.config.kinds.container import ObjectFieldSelector
from plait.config.kinds.core import ConfigMap
from plait.config.kinds.pod import Pod
from plait.config.kinds.secret import Secret
from plait.config.meta import Object

_MAP_KEY: Final = re.compile(r"(labels|annotations)\['([^']*)'\]")
_ADDRESSES: Final = ("status.podIP", "status.podIPs", "status.hostIP", "status.hostIPs")


class Values(Struct, frozen=True, kw_only=True):
    """A ConfigMap or Secret.

    Attributes:
        named: for messages, as ``Secret demo/db``.
        content: all values.
        texts: those that may become variables.
        is_secret: nobody else may see them.
    """

    named: str
    content: Mapping[str, bytes]
    texts: Mapping[str, bytes]
    is_secret: bool = False


class References:
    """Looks up what one Pod refers to, and notes what is missing."""

    def __init__(self, q: Query, pod: Object[Pod]) -> None:
        self.problems: list[str] = []
        self._q = q
        self._pod = pod

    def config_map(self, name: str, *, optional: bool | None) -> Values | None:
        """A ConfigMap of the Pod's namespace; None: there is none."""
        found: ConfigMap | None = self._found("ConfigMap", name, optional=optional)
        if found is None:
            return None
        texts = {key: text.encode() for key, text in found.data.items()}
        content = {**texts, **found.binary_data}
        return Values(named=self._named("ConfigMap", name), content=content, texts=texts)

    def secret(self, name: str, *, optional: bool | None) -> Values | None:
        """A Secret of the Pod's namespace; None: there is none."""
        found: Secret | None = self._found("Secret", name, optional=optional)
        if found is None:
            return None
        values, named = found.values, self._named("Secret", name)
        return Values(named=named, content=values, texts=values, is_secret=True)

    def lacks(self, values: Values, key: str) -> None:
        """Note that a value is missing."""
        self.problems.append(f"couldn't find key {key} in {values.named}")

    def text(self, values: Values, key: str) -> str | None:
        """A value as that of a variable; None: it cannot be one."""
        try:
            text = values.texts[key].decode()
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            self.problems.append(
                f"the value of {key} in {values.named} is no text: mount it as a file"
            )
            return None
        return text

    def variable(self, name: str, reference: ObjectFieldSelector) -> str | None:
        """A field of the Pod for a variable; those of its addresses are left to the platform."""
        path = reference.field_path
        if path in _ADDRESSES:
            return None
        plain = self._plain(path)
        if plain is None:
            self.problems.append(f'variable "{name}": a Pod has no field "{path}" to refer to')
        return plain

    def file(self, name: str, reference: ObjectFieldSelector) -> bytes:
        """A field of the Pod for a file; labels and annotations may be asked for as a whole."""
        path = reference.field_path
        if path in ("metadata.labels", "metadata.annotations"):
            pod = self._pod
            values = pod.labels if path == "metadata.labels" else pod.annotations
            return "\n".join(_lines(values)).encode()
        plain = self._plain(path)
        if plain is None:
            self.problems.append(f'file "{name}": a Pod has no field "{path}" to refer to')
        return (plain or "").encode()

    def _plain(self, path: str) -> str | None:
        pod = self._pod
        plain = {
            "metadata.name": pod.key.name,
            "metadata.namespace": pod.key.namespace,
            "metadata.uid": pod.uid,
            "spec.nodeName": pod.spec.spec.node_name,
            "spec.serviceAccountName": pod.spec.spec.service_account_name or "default",
        }
        if chosen := _MAP_KEY.fullmatch(path.removeprefix("metadata.")):
            kept = pod.labels if chosen.group(1) == "labels" else pod.annotations
            return kept.get(chosen.group(2), "")
        return plain.get(path)

    def _found(self, kind: str, name: str, *, optional: bool | None) -> Any:
        key = catalog.KINDS[kind].key(self._pod.key.namespace, name)
        found: Object[Any] | None = self._q.row(kind, key)
        if found is None and not optional:
            self.problems.append(f'{kind.lower()} "{name}" not found')
        return found.spec if found else None

    def _named(self, kind: str, name: str) -> str:
        return f"{kind} {self._pod.key.namespace}/{name}"


def _lines(values: Mapping[str, str]) -> Iterator[str]:
    for key, value in sorted(values.items()):
        yield f"{key}={json.dumps(value, ensure_ascii=False)}"
