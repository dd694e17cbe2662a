"""Every field of what configures proxies is enforced, said not to be, or none of theirs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

import plait
from plait.config import catalog, codec, unenforced
from plait.config.catalog import ISTIO, ISTIO_SECURITY, Kind
from plait.config.document import Document
from plait.config.ports import Change

KINDS = [
    kind
    for kind in catalog.KINDS.values()
    if kind.group in (ISTIO, ISTIO_SECURITY) or kind.kind in ("Service", "EndpointSlice")
]
SOURCES = Path(plait.__file__).parent

KUBERNETES = {
    "Service": {
        "ports[].nodePort",
        "externalIPs",
        "loadBalancerIP",
        "loadBalancerSourceRanges",
        "loadBalancerClass",
        "allocateLoadBalancerNodePorts",
        "healthCheckNodePort",
        "ipFamilies",
        "ipFamilyPolicy",
        "publishNotReadyAddresses",
    },
    "EndpointSlice": {
        "endpoints[].conditions.serving",
        "endpoints[].targetRef.uid",
        "endpoints[].targetRef.apiVersion",
        "endpoints[].targetRef.resourceVersion",
        "endpoints[].targetRef.fieldPath",
        "endpoints[].deprecatedTopology",
        "endpoints[].nodeName",
        "endpoints[].hints",
    },
}
"""Fields by which Kubernetes itself acts; proxies see what comes of it."""

NAMESAKES = {
    "tls",
    "mode",
    "http",
    "default_endpoint",
    "target_port",
    "network",
    "connection_pool",
    "ca_certificates",
    "private_key",
    "cipher_suites",
    "ecdh_curves",
    "min_protocol_version",
}
"""Fields that are not enforced in one kind, and enforced or merely kept by that name elsewhere."""


def read() -> set[str]:
    """Every attribute that the meaning of objects is made from."""
    files = [*SOURCES.glob("mesh/*.py"), SOURCES / "config/indexes.py"]
    trees = [ast.parse(file.read_text()) for file in files]
    return {
        node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)
    }


READ = read()


def bare(found: Any) -> Any:
    if isinstance(found, msgspec.inspect.UnionType):
        return bare(next(one for one in found.types if one != msgspec.inspect.NoneType()))
    return bare(found.type) if isinstance(found, msgspec.inspect.Metadata) else found


def fields(kind: Kind, found: Any, above: str = "") -> Iterator[tuple[str, str]]:
    """Each field's path and name in Python; nothing below one that is not enforced."""
    said = {pattern.partition("=")[0] for pattern in kind.unenforced}
    for field in bare(found).fields:
        path, inner = f"{above}{field.encode_name}", bare(field.type)
        if path in said or path in KUBERNETES.get(kind.kind, ()):
            continue
        yield path, field.name
        if isinstance(inner, msgspec.inspect.VarTupleType):
            path, inner = f"{path}[]", bare(inner.item_type)
        if isinstance(inner, msgspec.inspect.StructType):
            yield from fields(kind, inner, f"{path}.")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.table)
def test_a_field_that_nothing_reads_is_said_to_be_not_enforced(kind: Kind):
    written = fields(kind, msgspec.inspect.type_info(kind.spec))

    assert [path for path, name in written if name not in READ] == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.table)
def test_a_field_that_is_read_is_not_said_to_be_without_effect(kind: Kind):
    steps = (unenforced.split(one) for one in kind.unenforced)
    names = {_python_name(path[-1]) for path, value in steps if value is None}

    assert (names & READ) - NAMESAKES == set()


def _python_name(written: str) -> str:
    return re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", written)


VIRTUAL_SERVICE = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a}
spec:
  hosts: [a.test]
  http:
  - match: [{uri: {prefix: /old}}]
    redirect: {prefixRewrite: /new}
  - retries: {attempts: 1, retryIgnorePreviousHosts: false}
    route: [{destination: {host: a.test}}]
"""
GATEWAY = """\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: a}
spec:
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ["*"]
    tls: {httpsRedirect: true}
"""


ENTRY = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.test]
  ports: [{number: 443, name: tls, protocol: TLS}]
  resolution: DNS
  subjectAltNames: [spiffe://cluster.local/ns/demo/sa/a]
"""


@pytest.mark.parametrize("text", [VIRTUAL_SERVICE, GATEWAY, ENTRY])
def test_what_is_enforced_is_not_warned_of(text: str):
    (document,) = codec.read_yaml(text, "a.yaml")
    assert isinstance(document, Document)
    found = codec.decode(document)

    assert isinstance(found, Change)
    assert found.problems == ()


POD = """\
containers:
- {name: a, image: i, imagePullPolicy: Always, securityContext: {runAsUser: 7, privileged: true}}
- name: b
  image: i
  resources: {limits: {cpu: 1}}
  volumeMounts: [{name: v, mountPath: /v, readOnly: true}]
securityContext: {runAsUser: 7, fsGroup: 7}
tolerations: [{key: a}]
automountServiceAccountToken: false
volumes:
- {name: v, persistentVolumeClaim: {claimName: c}}
- {name: w, emptyDir: {}}
"""


@pytest.mark.parametrize(("kind", "above"), [("Pod", "spec"), ("Deployment", "spec.template.spec")])
def test_what_of_a_pod_has_no_effect_on_one_machine_is_said(kind: str, above: str):
    spec = yaml.safe_load(POD)
    whole = spec if kind == "Pod" else {"selector": {"matchLabels": {"a": "b"}}}
    if kind == "Deployment":
        whole["template"] = {"metadata": {"labels": {"a": "b"}}, "spec": spec}
    version = catalog.KINDS[kind].api_version
    document = {"apiVersion": version, "kind": kind, "metadata": {"name": "a"}, "spec": whole}

    found = codec.decode(document)

    assert isinstance(found, Change)
    assert {problem.code for problem in found.problems} == {"PLT1007"}
    assert {problem.path.removeprefix(f"{above}.") for problem in found.problems} == {
        "containers[0].securityContext.privileged",
        "containers[1].resources",
        "containers[1].volumeMounts[0].readOnly",
        "securityContext.fsGroup",
        "tolerations",
        "volumes[0].persistentVolumeClaim",
    }
