"""What a Pod finds around it."""

import os

import pytest
from msgspec.structs import replace

from plait.config.kinds.container import Container, EnvVar
from plait.config.meta import Key, Owner
from plait.platforms.local import surroundings
from plait.platforms.local.images import Image
from tests.support.platform import pod

EXCLUDE = "traffic.sidecar.istio.io/exclude"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)-$(B)", "1-$(B)"),
        ("$$(A)", "$(A)"),
        ("$A ${A}", "$A ${A}"),
        ("100$", "100$"),
    ],
)
def test_variables_stand_for_their_values(text, expected):
    assert surroundings.expanded(text, {"A": "1"}) == expected


@pytest.mark.parametrize(
    ("command", "args", "expected"),
    [
        ((), (), ("run", "it")),
        ((), ("x",), ("run", "it", "x")),
        (("other",), (), ("other",)),
        (("other",), ("$(A)",), ("other", "1")),
    ],
)
def test_a_command_replaces_the_images_and_arguments_follow(command, args, expected):
    container = Container(command=command, args=args)

    found = surroundings.command(container, Image(command=("run", "it")), {"A": "1"})

    assert found == expected


def test_fields_that_only_the_platform_knows():
    container = pod(env=[{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}])
    found = surroundings.environment(
        container.spec.spec.containers[0], {"A": "1"}, pod(), "10.244.0.9"
    )

    assert found == {"HOSTNAME": "app-1", "A": "1", "IP": "10.244.0.9"}


def test_later_variables_may_name_earlier_ones():
    container = Container(env=(EnvVar(name="A", value="1"), EnvVar(name="B", value="$(A)2")))

    assert surroundings.environment(container, {}, pod(), "")["B"] == "12"


def test_annotations_tell_what_is_not_captured():
    asked = pod(
        proxy=True,
        annotations={
            f"{EXCLUDE}InboundPorts": "81, 82",
            f"{EXCLUDE}OutboundPorts": "3306",
            f"{EXCLUDE}OutboundIPRanges": "10.1.0.0/16",
        },
    )

    found = surroundings.rules(asked)

    assert "-A ISTIO_INBOUND -p tcp --dport 82 -j RETURN" in found
    assert "-A ISTIO_OUTPUT -p tcp --dport 3306 -j RETURN" in found
    assert "-A ISTIO_OUTPUT -d 10.1.0.0/16 -j RETURN" in found


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (pod(spec={"hostNetwork": True}), "hostNetwork is not possible here"),
        (pod(securityContext={"runAsUser": 1337}), "runs as user 1337"),
        (
            pod(proxy=True, annotations={f"{EXCLUDE}InboundPorts": "http"}),
            '"http" is no port number',
        ),
        (
            pod(proxy=True, annotations={f"{EXCLUDE}OutboundIPRanges": "10.1"}),
            '"10.1" is no CIDR',
        ),
    ],
)
def test_what_cannot_run_here_is_said(asked, expected):
    assert expected in surroundings.problems(asked)[0]


def test_a_pod_with_a_sidecar_asks_the_agent_for_names_and_soon_again():
    assert surroundings.resolv_conf(pod(proxy=True)) == (
        "nameserver 10.96.0.10\n"
        "search demo.svc.cluster.local svc.cluster.local cluster.local\n"
        "options ndots:5 timeout:1 attempts:5\n"
    )


def test_names_of_the_host_file():
    asked = pod(spec={"subdomain": "db", "hostAliases": [{"ip": "10.9.9.9", "hostnames": ["x"]}]})

    assert surroundings.hosts(asked, "10.244.0.2") == (
        "127.0.0.1 localhost\n::1 localhost\n"
        "10.244.0.2 app-1.db.demo.svc.cluster.local app-1\n10.9.9.9 x\n"
    )


def test_the_proxy_knows_its_workload_and_where_metrics_are():
    asked = pod(
        proxy=True,
        annotations={"prometheus.io/scrape": "true", "prometheus.io/port": "9080"},
        spec={"serviceAccountName": "app"},
    )

    found = surroundings.proxy_spec(asked, 4, "/run/netns/x")

    assert found is not None
    assert (found.id, found.addresses, found.service_account) == (
        "demo.app-1",
        ("10.244.0.5",),
        "app",
    )
    assert (found.workload, found.metrics) == ("app-1", "http://127.0.0.1:9080/metrics")


@pytest.mark.parametrize(
    ("security", "expected"), [({}, True), ({"runAsUser": 0}, True), ({"runAsUser": 4711}, False)]
)
def test_the_proxy_knows_whether_a_program_beside_it_is_of_our_user(
    security: dict[str, int], expected: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    asked = pod(proxy=True, spec={"securityContext": security})

    found = surroundings.proxy_spec(asked, 4, "/run/netns/x")

    assert found is not None
    assert found.shares_user is expected


def test_the_older_name_of_the_service_account_counts_as_well():
    found = surroundings.proxy_spec(pod(proxy=True, spec={"serviceAccount": "app"}), 4, "")

    assert found is not None
    assert found.service_account == "app"


def test_a_deployments_pod_is_named_after_the_deployment():
    owner = Owner(key=Key("apps", "ReplicaSet", "demo", "web-7f9"), controller=True)
    asked = replace(pod(), owners=(owner,), labels={"pod-template-hash": "7f9"})

    assert surroundings.workload(asked) == "web"


@pytest.mark.parametrize(
    ("annotations", "workers"),
    [
        ({}, 1),
        ({"sidecar.istio.io/proxyCPULimit": "2000m"}, 2),
        ({"sidecar.istio.io/proxyCPULimit": "1.5"}, 2),
        ({"sidecar.istio.io/proxyCPULimit": "100m"}, 1),
        ({"sidecar.istio.io/proxyCPULimit": "nonsense"}, 1),
        ({"proxy.istio.io/config": "concurrency: 3"}, 3),
        ({"proxy.istio.io/config": '{"concurrency": 4}'}, 4),
        ({"proxy.istio.io/config": "concurrency: 0"}, os.cpu_count()),
        (
            {
                "proxy.istio.io/config": "concurrency: 3",
                "sidecar.istio.io/proxyCPULimit": "1",
            },
            3,
        ),
    ],
)
def test_workers_follow_the_configuration_and_then_the_limit(annotations, workers):
    assert surroundings.concurrency(annotations) == workers
