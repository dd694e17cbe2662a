import copy

import pytest

from plait.config import codec
from plait.config.document import Document
from plait.config.meta import Key
from plait.config.ports import Change, Fault

ROUTE = """\
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata:
  name: reviews
  namespace: demo
  labels: {team: a}
  creationTimestamp: 2026-01-01T00:00:00Z
  uid: u1
  finalizers: [example.com/hold]
  deletionTimestamp: "2026-01-01T00:00:10Z"
  resourceVersion: "7"
  ownerReferences:
  - {apiVersion: apps/v1, kind: Deployment, name: reviews, uid: u2, controller: true}
spec:
  hosts: [reviews]
  http:
  - timeout: 1m30s
    route:
    - destination: {host: reviews, subset: v2}
status: {anything: 1}
"""


def change(text: str) -> Change:
    (document,) = codec.read_yaml(text, "mesh/a.yaml")
    assert isinstance(document, Document), document
    found = codec.decode(document)
    assert isinstance(found, Change), found
    return found


def fault(text: str) -> Fault:
    (document,) = codec.read_yaml(text, "a.yaml")
    assert isinstance(document, Document)
    found = codec.decode(document)
    assert isinstance(found, Fault), found
    return found


def told(found: Change) -> list[tuple[str, str, str]]:
    return [(each.code, each.path, each.locator.removeprefix("mesh/")) for each in found.problems]


def service(spec: str) -> str:
    return f"apiVersion: v1\nkind: Service\nmetadata: {{name: a}}\nspec:\n{spec}"


def test_an_object_is_read_with_its_metadata():
    found = change(ROUTE)

    assert found.problems == ()
    assert found.origin.locator == "mesh/a.yaml:1"
    assert found.object is not None
    assert found.object.key == Key(
        group="networking.istio.io", kind="VirtualService", namespace="demo", name="reviews"
    )
    assert found.object.created == 1767225600.0
    assert found.object.deleted == 1767225610.0
    assert found.object.finalizers == ("example.com/hold",)
    assert found.object.labels == {"team": "a"}
    (owner,) = found.object.owners
    assert owner.key == Key(group="apps", kind="Deployment", namespace="demo", name="reviews")
    assert owner.controller
    assert found.object.spec.http[0].timeout == 90.0


def test_the_document_stays_as_it_was_written():
    (document,) = codec.read_yaml(ROUTE, "a.yaml")
    assert isinstance(document, Document)
    before = copy.deepcopy(document.value)

    found = codec.decode(document)

    assert isinstance(found, Change)
    assert found.document == before
    assert document.value == before


def test_a_missing_namespace_is_the_default_one_in_the_document_too():
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: y}\n"
    found = change(text)

    assert found.key.namespace == "default"
    assert found.document is not None
    assert found.document["metadata"] == {"name": "a", "namespace": "default"}


def test_a_kind_without_namespaces_has_none():
    found = change("apiVersion: v1\nkind: Namespace\nmetadata: {name: a, namespace: b}\n")

    assert found.key.path == "a"


def test_all_unknown_fields_are_told_and_left_out():
    text = service("  ports:\n  - {port: 80, nme: http}\n  selectr: {app: a}\n") + "statu: {}\n"
    found = change(text)

    assert told(found) == [
        ("PLT1003", "statu", "a.yaml:8:1"),
        ("PLT1003", "spec.ports[0].nme", "a.yaml:6:16"),
        ("PLT1003", "spec.selectr", "a.yaml:7:3"),
    ]
    assert {each.hint for each in found.problems} == {
        'did you mean "name"?',
        'did you mean "selector"?',
        'did you mean "status"?',
    }
    assert found.object is not None
    assert found.object.spec.ports[0].port == 80


def test_duplicate_fields_are_told_with_both_lines_and_the_last_counts():
    found = change(service("  ports: [{port: 80}]\n  ports: [{port: 81}]\n"))

    (problem,) = found.problems
    assert (problem.code, problem.path) == ("PLT1004", "spec.ports")
    assert "line 5" in problem.message
    assert "line 6" in problem.message
    assert found.object is not None
    assert found.object.spec.ports[0].port == 81


@pytest.mark.parametrize(
    ("field", "path", "message", "hint"),
    [
        ("clusterIP: 1", "clusterIP", "1 is not text", "quotes"),
        ("type: on", "type", "true is not text", "booleans in YAML"),
        ("ports: 80", "ports", "80 is not a list", "list"),
        ("ports: [80]", "ports[0]", "80 is not an object with fields", ""),
        ('ports: [{port: "80"}]', "ports[0].port", '"80" is not a whole number', "quotes"),
        ("ports: [{port: 1.5}]", "ports[0].port", "1.5 is not a whole number", ""),
        ("ports: [{targetPort: {}}]", "ports[0].targetPort", "{} is not a number or a name", ""),
        ("selector: [a]", "selector", '["a"] is not a map', ""),
        ("selector: {a/b: 1}", "selector[a/b]", "1 is not text", "quotes"),
        (
            'publishNotReadyAddresses: "true"',
            "publishNotReadyAddresses",
            '"true" is not true or false',
            "remove the quotes",
        ),
    ],
)
def test_a_wrong_type_refuses_the_object_and_names_path_value_and_what_was_expected(
    field, path, message, hint
):
    found = change(service(f"  {field}\n"))

    assert found.object is None
    assert found.document is not None
    (problem,) = found.problems
    assert (problem.code, problem.path, problem.message) == ("PLT1005", f"spec.{path}", message)
    assert hint in problem.hint


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("10s", 10.0), ("0.5s", 0.5), ("1h2m3ms", 3720.003), ("0s", 0.0), ("100ms", 0.1), ("0", 0.0)],
)
def test_durations_are_seconds(written, seconds):
    found = change(ROUTE.replace("1m30s", f'"{written}"'))

    assert found.object is not None
    assert found.object.spec.http[0].timeout == seconds


@pytest.mark.parametrize("written", ["10", "10 s", "-1s", "s", "1d", "1e3s", "999999999999s", '""'])
def test_what_is_no_duration_is_refused(written):
    found = change(ROUTE.replace("1m30s", written))

    assert told(found) == [("PLT1005", "spec.http[0].timeout", "a.yaml:17:5")]


def test_an_unknown_choice_suggests_the_nearest():
    text = ROUTE.replace("VirtualService", "ServiceEntry")
    text = text[: text.index("  http:")] + "  resolution: STATICC\n"
    (problem,) = change(text).problems

    assert problem.message == (
        '"STATICC" is not one of NONE, STATIC, DNS, DNS_ROUND_ROBIN, DYNAMIC_DNS'
    )
    assert problem.hint == 'did you mean "STATIC"?'


def test_fields_that_have_no_effect_yet_are_named():
    found = change(ROUTE.replace("  - timeout", "  - mirror: {host: ratings}\n    timeout"))

    assert told(found) == [("PLT1007", "spec.http[0].mirror", "a.yaml:17:5")]
    assert found.object is not None


def test_values_that_have_no_effect_yet_are_named():
    text = """\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: web}
spec:
  servers:
  - port: {number: 443, name: tls, protocol: tls}
    hosts: ["*"]
    tls: {mode: AUTO_PASSTHROUGH}
  - port: {number: 53, name: dns, protocol: udp}
    hosts: ["*"]
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ["*"]
"""
    assert told(change(text)) == [
        ("PLT1007", "spec.servers[0].tls.mode", "a.yaml:8:11"),
        ("PLT1007", "spec.servers[1].port.protocol", "a.yaml:9:35"),
    ]


def test_null_is_as_if_not_written():
    text = service("  ports: [{port: 80, name: null}]\n  selector:\n")

    assert change(text).problems == ()


def test_a_list_is_expanded_and_each_item_knows_its_place():
    text = """\
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: a}
- 1
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: b}
  dta: {}
"""
    first, broken, last = codec.read_yaml(text, "mesh/a.yaml")

    assert isinstance(broken, Fault)
    assert str(broken.origin) == "mesh/a.yaml:7:3"
    assert isinstance(first, Document)
    assert isinstance(last, Document)
    found = codec.decode(last)
    assert isinstance(found, Change)
    assert found.origin.locator == "mesh/a.yaml:8"
    assert told(found) == [("PLT1003", "dta", "a.yaml:11:3")]


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("kind: Service", "PLT1005", "apiVersion is missing"),
        ("apiVersion: v1", "PLT1005", "kind is missing"),
        ("{apiVersion: 1, kind: Service}", "PLT1005", "apiVersion 1 is no text"),
        ("{apiVersion: v1, kind: Service}", "PLT1005", "metadata.name is missing"),
        ("{apiVersion: v1, kind: Service, metadata: {name: 1}}", "PLT1005", "1 is no text"),
        ("{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: on}}", "PLT1005", "true"),
        ("{apiVersion: v1, kind: Servce}", "PLT1002", 'did you mean "Service"?'),
        ("{apiVersion: v2, kind: Service}", "PLT1002", "Service is known as v1"),
        ("{apiVersion: x.io/v1, kind: Sidecar}", "PLT1002", "known of networking.istio.io/v1"),
        ("{apiVersion: networking.istio.io/v1alpha3, kind: EnvoyFilter}", "PLT1002", "ignored"),
    ],
)
def test_what_has_no_key_is_a_fault(text, code, message):
    found = fault(text)

    assert found.code == code
    assert message in found.problem
    assert str(found.origin) == "a.yaml:1"


def test_the_canonical_form_leaves_out_defaults_and_keeps_units_as_written():
    found = change(ROUTE)
    assert found.object is not None
    written = codec.encode(found.object)

    assert written["apiVersion"] == "networking.istio.io/v1"
    assert written["spec"] == {
        "hosts": ["reviews"],
        "http": [
            {
                "timeout": "90s",
                "route": [{"destination": {"host": "reviews", "subset": "v2"}}],
            }
        ],
    }
    assert written["metadata"]["creationTimestamp"] == "2026-01-01T00:00:00Z"
    assert codec.decode(written).object == found.object  # type: ignore[union-attr]


def test_a_dict_is_read_without_positions():
    found = codec.decode({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})

    assert isinstance(found, Change)
    assert (found.origin.source, found.origin.locator) == ("api", "")


def test_the_state_of_a_pod_is_read_as_far_as_endpoints_need_it():
    found = change(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nstatus:\n"
        "  podIP: 10.0.0.1\n  startTime: x\n  conditions: [{type: Ready, status: 'True', x: 1}]\n"
    )

    assert found.problems == ()
    assert found.object is not None
    assert found.object.spec.status.pod_ip == "10.0.0.1"
