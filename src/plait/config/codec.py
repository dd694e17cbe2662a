"""Documents and objects: Kubernetes' JSON form on one side, structs on the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from plait.config import catalog, seal, shapes, unenforced, validate, yaml_reader
from plait.config.catalog import Kind
from plait.config.diagnostics import Diagnostic, Severity
from plait.config.document import Document, Path, printed
from plait.config.finding import Finding, meant, shown, without_value
from plait.config.kinds.labels import ObjectMeta, OwnerReference
from plait.config.meta import Key, Object, Origin, Owner
from plait.config.ports import Change, Fault
from plait.config.written import write_bytes

_HEAD: Final = ("apiVersion", "kind", "metadata")


def read_yaml(text: str, name: str, *, source: str = "files") -> tuple[Document | Fault, ...]:
    """Read every document of a YAML or JSON text; lists of objects are expanded.

    Args:
        text: the documents, separated by ``---`` lines.
        name: of the text, for locators: a path as the user knows it.
        source: name of the source, for faults.
    """
    found: list[Document | Fault] = []
    for document in yaml_reader.read(text, name, source=source):
        found.extend(_expanded(document, source))
    return tuple(found)


def decode(
    document: Document | dict[str, Any],
    *,
    default_namespace: str = "default",
    source: str = "api",
) -> Change | Fault:
    """Read one object, with all that is wrong with it.

    Errors (`PLT1004` is none) leave `Change.object` None; warnings do not.  An object without a
    namespace gets `default_namespace`, in its document too; the document is not changed
    otherwise.

    Returns:
        A Fault where kind or name cannot be read; its code is ``PLT1002`` for an unknown kind.
    """
    written = document if isinstance(document, Document) else None
    value = document.value if isinstance(document, Document) else document
    origin = Origin(source=source, locator=written.locator if written else "")
    kind = _kind(value, origin)
    if isinstance(kind, Fault):
        return kind
    key = _key(value, kind, default_namespace, origin)
    if isinstance(key, Fault):
        return key
    findings = [*_duplicates(written)]
    found = _object(value, kind, key, findings)
    problems = tuple(_diagnostic(each, key, written) for each in findings)
    refused = any(each.severity is Severity.ERROR for each in problems)
    return Change(
        key=key,
        origin=origin,
        object=None if refused else found,
        document=_completed(value, key),
        problems=problems,
    )


def encode(found: Object[Any], kind: Kind | None = None) -> dict[str, Any]:
    """The canonical document of an object: what is as by default is left out.

    Raises:
        KeyError: no kind is given, and the key names none of ours.
    """
    kind = kind or catalog.of(found.key)
    body = shapes.write(found.spec)
    head = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": _metadata(found)}
    return {**head, kind.body: body} if kind.body else {**head, **body}


def diagnostic(finding: Finding, subject: Key, locator: str = "") -> Diagnostic:
    """A finding about an object, for people."""
    return Diagnostic(
        code=finding.code,
        severity=finding.severity,
        subject=subject,
        path=printed(finding.path),
        message=finding.message,
        hint=finding.hint,
        locator=locator,
    )


def duplicates(document: Document) -> Iterator[Finding]:
    """What is written twice in a document."""
    for each in document.duplicates:
        yield Finding(
            code="PLT1004",
            severity=Severity.WARNING,
            path=each.path,
            message=f"written in line {each.first} and again in line {each.last}; the last counts",
            hint="remove one of the two",
        )


def with_texts_as_data(value: dict[str, Any]) -> dict[str, Any]:
    """A Secret's document with its ``stringData`` among its ``data``; any other as it is."""
    texts, data = value.get("stringData"), value.get("data") or {}
    is_secret = (value.get("apiVersion"), value.get("kind")) == ("v1", "Secret")
    if not is_secret or not isinstance(texts, dict) or not isinstance(data, dict):
        return value
    more = {name: write_bytes(str(text).encode(errors="replace")) for name, text in texts.items()}
    rest = {name: part for name, part in value.items() if name != "stringData"}
    return {**rest, "data": {**data, **more}}


def _expanded(document: Document | Fault, source: str) -> Iterator[Document | Fault]:
    if isinstance(document, Fault):
        yield document
        return
    kind, items = document.value.get("kind"), document.value.get("items")
    if not (isinstance(kind, str) and kind.endswith("List") and isinstance(items, list)):
        yield document
        return
    for index in range(len(items)):
        item = document.item(index)
        if item is not None:
            yield from _expanded(item, source)
            continue
        origin = Origin(source=source, locator=document.locate(("items", index)))
        problem = f"items[{index}] must be an object with apiVersion and kind"
        yield Fault(origin=origin, problem=problem, code="PLT1005")


def _kind(value: dict[str, Any], origin: Origin) -> Kind | Fault:
    version, name = value.get("apiVersion"), value.get("kind")
    for field, part in (("apiVersion", version), ("kind", name)):
        if not isinstance(part, str) or not part:
            problem = f"{field} is missing" if part is None else f"{field} {shown(part)} is no text"
            hint = "an object begins with apiVersion, kind and metadata"
            return Fault(origin=origin, problem=f"{problem}; {hint}", code="PLT1005")
    group, _, short = str(version).rpartition("/")
    kind = catalog.find(group, str(name))
    if kind is not None and short in kind.versions:
        return kind
    problem = f'kind "{name}" of apiVersion "{version}" is not known and is ignored'
    problem += _instead(str(name), kind)
    return Fault(origin=origin, problem=problem, code="PLT1002", name=_name(value))


def _name(value: dict[str, Any]) -> str:
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""


def _instead(name: str, kind: Kind | None) -> str:
    if kind is not None:
        return f"; {name} is known as {kind.api_version}"
    same = [each.api_version for each in catalog.KINDS.values() if each.kind == name]
    if same:
        return f"; {name} is known of {' and '.join(same)}"
    near = meant(name, [each.kind for each in catalog.KINDS.values()])
    return f"; {near}" if near.startswith("did") else ""


def _key(value: dict[str, Any], kind: Kind, default_namespace: str, origin: Origin) -> Key | Fault:
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not name:
        told = "is missing" if name is None else f"{shown(name)} is no text"
        problem = f"{kind.kind}: metadata.name {told}; every object needs a name"
        return Fault(origin=origin, problem=problem, code="PLT1005")
    namespace = metadata.get("namespace") if isinstance(metadata, dict) else None
    if namespace is not None and not isinstance(namespace, str):
        problem = f"{kind.kind} {name}: metadata.namespace {shown(namespace)} is no text"
        return Fault(origin=origin, problem=f"{problem}; put quotes around it", code="PLT1005")
    return kind.key(namespace or default_namespace, name)


def _object(value: dict[str, Any], kind: Kind, key: Key, findings: list[Finding]) -> Object[Any]:
    metadata = shapes.read(value.get("metadata"), ObjectMeta, ("metadata",), findings)
    body, path = _body(value, kind, findings)
    inner: list[Finding] = []
    spec = shapes.read(body, kind.spec, path, inner)
    told = map(without_value, inner) if seal.is_secret(key) else inner
    findings.extend(each for each in told if each.path[0] != "status")
    findings.extend(unenforced.findings(kind, body, path))
    found = Object(
        key=key,
        spec=spec,
        labels=metadata.labels,
        annotations=metadata.annotations,
        uid=metadata.uid,
        owners=tuple(_owner(each, key) for each in metadata.owner_references),
        created=metadata.creation_timestamp or 0.0,
        finalizers=metadata.finalizers,
        deleted=metadata.deletion_timestamp,
    )
    if not any(each.severity is Severity.ERROR for each in findings):
        findings.extend(validate.findings(found, path))
    return found


def _body(value: dict[str, Any], kind: Kind, findings: list[Finding]) -> tuple[Any, Path]:
    if not kind.body:
        return {name: part for name, part in value.items() if name not in _HEAD}, ()
    known = (*_HEAD, kind.body, "status")
    findings.extend(shapes.unknown(name, known, ()) for name in value if name not in known)
    body = value.get(kind.body)
    return {} if body is None else body, (kind.body,)


def _owner(reference: OwnerReference, key: Key) -> Owner:
    group = reference.api_version.rpartition("/")[0]
    kind = catalog.find(group, reference.kind)
    owner = Key(
        group=group,
        kind=reference.kind,
        namespace=key.namespace if kind is None or kind.namespaced else "",
        name=reference.name,
    )
    return Owner(key=owner, uid=reference.uid, controller=reference.controller)


def _reference(owner: Owner) -> OwnerReference:
    kind = catalog.find(owner.key.group, owner.key.kind)
    group = f"{owner.key.group}/" if owner.key.group else ""
    return OwnerReference(
        api_version=kind.api_version if kind is not None else f"{group}v1",
        kind=owner.key.kind,
        name=owner.key.name,
        uid=owner.uid,
        controller=owner.controller,
    )


def _metadata(found: Object[Any]) -> dict[str, Any]:
    return shapes.write(
        ObjectMeta(
            name=found.key.name,
            namespace=found.key.namespace,
            uid=found.uid,
            creation_timestamp=found.created or None,
            deletion_timestamp=found.deleted,
            labels=found.labels,
            annotations=found.annotations,
            owner_references=tuple(_reference(owner) for owner in found.owners),
            finalizers=found.finalizers,
        )
    )


def _completed(value: dict[str, Any], key: Key) -> dict[str, Any]:
    metadata = value["metadata"]
    value = with_texts_as_data(value)
    if not key.namespace or metadata.get("namespace"):
        return value
    return {**value, "metadata": {**metadata, "namespace": key.namespace}}


def _duplicates(document: Document | None) -> Iterator[Finding]:
    return duplicates(document) if document is not None else iter(())


def _diagnostic(finding: Finding, key: Key, document: Document | None) -> Diagnostic:
    locator = document.locate(finding.path) if document is not None else ""
    return diagnostic(finding, key, locator)
