"""What Pods take from ConfigMaps and from themselves."""

from __future__ import annotations

from typing import Any

import pytest

from plait.config.meta import Object
from plait.config.ports import PodFiles
from plait.controllers.podfiles import errand, files
from tests.support.objects import engine, made, put, ran


def config_map(name: str = "x", **data: str) -> Object[Any]:
    return made("ConfigMap", name, {"data": data, "binaryData": {"raw": "AAE="}})


def pod(**container: Any) -> Object[Any]:
    volumes = container.pop("volumes", [])
    one = {"name": "app", "image": "i", **container}
    return made(
        "Pod",
        "p",
        {"spec": {"containers": [one], "volumes": volumes, "nodeName": "here"}},
        uid="u",
        labels={"app": "web"},
        annotations={"note": "n"},
    )


def found(asked: Object[Any], *rows: Object[Any]) -> PodFiles:
    return engine(asked, *rows).get(files, asked.key)


def reference(**source: Any) -> list[dict[str, Any]]:
    return [{"name": "A", "valueFrom": source}]


def test_variables_come_from_config_maps_with_single_ones_last():
    asked = pod(
        envFrom=[
            {"configMapRef": {"name": "x"}, "prefix": "P_"},
            {"configMapRef": {"name": "y"}},
            {"configMapRef": {"name": "no", "optional": True}},
        ],
        env=[
            {"name": "PLAIN", "value": "v"},
            *reference(configMapKeyRef={"name": "x", "key": "one"}),
        ],
    )

    env = found(asked, config_map(one="1"), config_map("y", **{"A": "first", "no name": "2"}))

    assert env == PodFiles(env={"app": {"P_one": "1", "A": "1"}})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "p"),
        ("metadata.namespace", "demo"),
        ("metadata.uid", "u"),
        ("metadata.labels['app']", "web"),
        ("metadata.annotations['note']", "n"),
        ("metadata.labels['none']", ""),
        ("spec.nodeName", "here"),
        ("spec.serviceAccountName", "default"),
    ],
)
def test_variables_name_fields_of_the_pod(path: str, value: str):
    assert found(pod(env=reference(fieldRef={"fieldPath": path}))).env == {"app": {"A": value}}


def test_addresses_are_left_to_the_platform():
    asked = pod(env=reference(fieldRef={"fieldPath": "status.podIP"}))

    assert found(asked) == PodFiles(env={"app": {}})


def test_volumes_have_all_keys_or_those_that_are_named():
    asked = pod(
        volumes=[
            {"name": "all", "configMap": {"name": "x"}},
            {"name": "some", "configMap": {"name": "x", "items": [{"key": "a", "path": "b/c"}]}},
            {"name": "none", "configMap": {"name": "no", "optional": True}},
            {"name": "empty", "emptyDir": {}},
        ]
    )

    assert found(asked, config_map(a="1")).volumes == {
        "all": {"a": b"1", "raw": b"\0\1"},
        "some": {"b/c": b"1"},
        "none": {},
    }


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (
            pod(env=reference(configMapKeyRef={"name": "no", "key": "a"})),
            'configmap "no" not found',
        ),
        (
            pod(env=reference(configMapKeyRef={"name": "x", "key": "b"})),
            "couldn't find key b in ConfigMap demo/x",
        ),
        (pod(envFrom=[{"configMapRef": {"name": "no"}}]), 'configmap "no" not found'),
        (pod(volumes=[{"name": "v", "configMap": {"name": "no"}}]), 'configmap "no" not found'),
        (
            pod(volumes=[{"name": "v", "configMap": {"name": "x", "items": [{"key": "b"}]}}]),
            "couldn't find key b in ConfigMap demo/x",
        ),
        (pod(env=reference(secretKeyRef={"name": "s", "key": "a"})), 'secret "s" not found'),
        (pod(envFrom=[{"secretRef": {"name": "s"}}]), 'secret "s" not found'),
        (pod(volumes=[{"name": "v", "secret": {"secretName": "s"}}]), 'secret "s" not found'),
        (pod(env=reference(fieldRef={"fieldPath": "spec.no"})), 'no field "spec.no"'),
    ],
)
def test_what_is_missing_is_named(asked: Object[Any], problem: str):
    (said,) = found(asked, config_map(a="1")).problems

    assert problem in said


def test_what_is_optional_may_be_missing():
    asked = pod(
        env=[
            *reference(configMapKeyRef={"name": "x", "key": "b", "optional": True}),
            *reference(secretKeyRef={"name": "s", "key": "a", "optional": True}),
        ],
        envFrom=[{"secretRef": {"name": "s", "optional": True}}],
    )

    assert found(asked, config_map(a="1")) == PodFiles(env={"app": {}})


def test_the_state_of_a_pod_is_no_change_of_what_it_is_handed():
    asked = pod()
    world = engine(asked)
    before = world.watch(errand, asked.key)
    body = {"spec": {"containers": [{"name": "app", "image": "i"}], "nodeName": "here"}}
    state = {**body, "status": {"phase": "Running"}}
    seen = made("Pod", "p", state, uid="u", labels=asked.labels, annotations=asked.annotations)

    assert "errand" in ran(world, put(seen))
    assert world.get(errand, asked.key) == before
