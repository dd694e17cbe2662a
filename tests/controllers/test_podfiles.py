"""What Pods take from ConfigMaps and from themselves."""

from __future__ import annotations

from typing import Any

import pytest

from plait.config.meta import Object
from plait.config.ports import Hidden, PodFile, PodFiles
from plait.controllers.podfiles import errand, files
from tests.support.objects import engine, made, put, ran


def config_map(name: str = "x", **data: str) -> Object[Any]:
    return made("ConfigMap", name, {"data": data, "binaryData": {"raw": "AAE="}})


def secret(name: str = "s", **values: str) -> Object[Any]:
    raw = {} if values else {"raw": "/w=="}
    return made("Secret", name, {"stringData": values, "data": raw})


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
        "all": {"a": PodFile(b"1"), "raw": PodFile(b"\0\1")},
        "some": {"b/c": PodFile(b"1")},
        "none": {},
    }


def test_secrets_are_kept_apart_from_all_else():
    asked = pod(
        envFrom=[{"secretRef": {"name": "s"}, "prefix": "S_"}, {"configMapRef": {"name": "x"}}],
        env=reference(secretKeyRef={"name": "s", "key": "user"}),
        volumes=[
            {"name": "own", "secret": {"secretName": "s"}},
            {"name": "plain", "configMap": {"name": "x", "items": [{"key": "a", "path": "a"}]}},
        ],
    )

    given = found(asked, secret(user="ann", pass_word="hush"), config_map(a="1"))

    assert given == PodFiles(
        env={"app": {"a": "1"}},
        volumes={"plain": {"a": PodFile(b"1")}},
        hidden=Hidden(
            env={"app": {"S_user": "ann", "S_pass_word": "hush", "A": "ann"}},
            volumes={"own": {"user": PodFile(b"ann"), "pass_word": PodFile(b"hush")}},
        ),
    )
    assert "hush" not in repr(given)
    assert "pass_word" in repr(given)


def test_a_later_variable_of_the_same_name_decides_whether_it_is_secret():
    asked = pod(
        envFrom=[{"secretRef": {"name": "s"}}, {"configMapRef": {"name": "x"}}],
        env=reference(secretKeyRef={"name": "s", "key": "A"}),
    )

    given = found(asked, secret(A="secret", B="secret"), config_map(A="plain", B="plain"))

    assert given.env == {"app": {"B": "plain"}}
    assert given.hidden.env == {"app": {"A": "secret"}}


def test_files_have_the_mode_of_their_own_or_of_their_volume():
    items = [{"key": "a", "path": "a", "mode": 0o400}, {"key": "a", "path": "b"}]
    asked = pod(
        volumes=[
            {"name": "c", "configMap": {"name": "x", "defaultMode": 0o600, "items": items}},
            {"name": "s", "secret": {"secretName": "s", "defaultMode": 0, "items": items}},
        ]
    )

    given = found(asked, secret(a="1"), config_map(a="1"))

    assert given.volumes["c"] == {"a": PodFile(b"1", 0o400), "b": PodFile(b"1", 0o600)}
    assert given.hidden.volumes["s"] == {"a": PodFile(b"1", 0o400), "b": PodFile(b"1", 0)}


def test_a_projected_volume_has_the_files_of_all_its_sources():
    field = {"path": "me/labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    sources = [
        {"configMap": {"name": "x", "items": [{"key": "a", "path": "c"}]}},
        {"downwardAPI": {"items": [field]}},
        {"configMap": {"name": "no", "optional": True}},
    ]
    secrets = [*sources, {"secret": {"name": "s"}}]
    asked = pod(
        volumes=[
            {"name": "plain", "projected": {"sources": sources, "defaultMode": 0o440}},
            {"name": "mixed", "projected": {"sources": secrets}},
        ]
    )

    given = found(asked, secret(a="1"), config_map(a="2"))

    labels = b'app="web"'
    assert given.volumes == {
        "plain": {"c": PodFile(b"2", 0o440), "me/labels": PodFile(labels, 0o440)}
    }
    assert given.hidden.volumes == {
        "mixed": {"c": PodFile(b"2"), "me/labels": PodFile(labels), "a": PodFile(b"1")}
    }


def test_fields_of_the_pod_are_files_too():
    paths = ("metadata.name", "metadata.annotations", "metadata.labels['app']")
    items = [{"path": f"f{i}", "fieldRef": {"fieldPath": path}} for i, path in enumerate(paths)]
    asked = pod(volumes=[{"name": "v", "downwardAPI": {"items": items}}])

    assert found(asked).volumes == {
        "v": {"f0": PodFile(b"p"), "f1": PodFile(b'note="n"'), "f2": PodFile(b"web")}
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
        (
            pod(env=reference(secretKeyRef={"name": "known", "key": "b"})),
            "couldn't find key b in Secret demo/known",
        ),
        (
            pod(env=reference(secretKeyRef={"name": "known", "key": "raw"})),
            "the value of raw in Secret demo/known is no text: mount it as a file",
        ),
        (
            pod(volumes=[{"name": "v", "projected": {"sources": [{"secret": {"name": "s"}}]}}]),
            'secret "s" not found',
        ),
        (pod(env=reference(fieldRef={"fieldPath": "spec.no"})), 'no field "spec.no"'),
        (
            pod(
                volumes=[
                    {
                        "name": "v",
                        "downwardAPI": {"items": [{"path": "f", "fieldRef": {"fieldPath": "no"}}]},
                    }
                ]
            ),
            'file "f": a Pod has no field "no"',
        ),
    ],
)
def test_what_is_missing_is_named(asked: Object[Any], problem: str):
    (said,) = found(asked, config_map(a="1"), secret("known")).problems

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
