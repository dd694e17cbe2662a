"""Pods as processes of this machine."""

import asyncio
import os
import signal
import subprocess

from msgspec.structs import replace

from plait.base import netns
from plait.base import place as places
from plait.base.place import ProxySpec
from plait.config.meta import Key
from plait.config.ports import Hidden, PodFile, PodFiles
from plait.platforms.local import members
from plait.platforms.local.network import Network
from plait.platforms.local.pods import Platform
from tests.support.netns import needs_root
from tests.support.platform import (
    SERVER,
    World,
    condition,
    container,
    files,
    is_alive,
    is_ready,
    pid,
    pod,
    running,
    said,
)

pytestmark = needs_root
NONE = PodFiles()
FAST = {"periodSeconds": 1, "failureThreshold": 1}


async def printed(platform: Platform, pod: Key, count: int) -> str:
    """What a container has said, once that is so many lines."""
    lines = ""
    while lines.count("\n") < count:
        await asyncio.sleep(0.02)
        lines = await said(platform.logs(pod, "app", follow=False, previous=False, tail=None))
    return lines


def test_a_pod_runs_with_its_own_address_name_and_files():
    script = (
        "hostname; cat /etc/resolv.conf /etc/hosts /data/key; echo $GREETING $WHO $HOSTNAME; "
        "id -u; id -g; sleep 1000"
    )

    async def body(world: World) -> None:
        spec = {"volumes": [{"name": "data", "configMap": {"name": "c"}}]}
        mounts = [{"name": "data", "mountPath": str(world.top / "mounted" / "data")}]
        text = script.replace("/data", mounts[0]["mountPath"])
        asked = pod(
            script=text,
            spec=spec,
            volumeMounts=mounts,
            env=[{"name": "GREETING", "value": "hello $(WHO)"}],
            securityContext={"runAsUser": 65534},
        )
        async with world.platform() as platform:
            await platform.run(asked, files({"WHO": "you"}, {"data": {"key": b"value\n"}}))
            status = await world.until(is_ready)
            lines = await printed(platform, asked.key, 11)
            await platform.stop(asked.key, 1)

        assert status.pod_ip == "10.244.0.2"
        assert status.phase == "Running"
        assert lines.startswith("app-1\nnameserver 127.0.0.1\nsearch demo.svc.cluster.local svc")
        assert "10.244.0.2 app-1\nvalue\nhello you you app-1\n65534\n65534\n" in lines
        assert not (world.top / "mounted").exists()

    running(body)


def test_what_is_secret_is_for_the_container_alone_and_in_no_note():
    async def body(world: World) -> None:
        place = world.top / "mounted" / "keys"
        asked = pod(
            script=f"cat {place}/key; echo $TOKEN; stat -c %a {place}/key; exec sleep 1000",
            spec={"volumes": [{"name": "keys", "secret": {"secretName": "s"}}]},
            volumeMounts=[{"name": "keys", "mountPath": str(place)}],
        )
        hidden = Hidden(
            env={"app": {"TOKEN": "of-token"}},
            volumes={"keys": {"key": PodFile(b"of-key\n", 0o400)}},
        )
        given = PodFiles(env={"app": {}}, hidden=hidden)
        async with world.platform() as platform:
            await platform.run(asked, given)
            first = pid(await world.until(is_ready))
            lines = await printed(platform, asked.key, 3)
        directory = world.place.pod(asked.key.namespace, asked.key.name)
        journal = (directory / "journal.json").read_text()
        os.kill(first, signal.SIGKILL)
        async with world.platform() as platform:
            await world.until(
                lambda s: (w := container(s).state.waiting) and "its Secrets" in w.message
            )
            again = PodFiles(
                env={"app": {}},
                hidden=replace(hidden, volumes={"keys": {"key": PodFile(b"new\n", 0o444)}}),
            )
            await platform.run(asked, again)
            await world.until(is_ready)
            later = await printed(platform, asked.key, 3)

        assert lines == "of-key\nof-token\n400\n"
        assert "of-" not in journal
        assert (directory / "volumes").stat().st_mode & 0o777 == 0o700
        assert later == "new\nof-token\n444\n"

    running(body)


def test_a_pod_with_a_sidecar_starts_when_its_proxy_is_ready():
    async def body(world: World) -> None:
        asked = pod(proxy=True, script="exec sleep 1000")
        async with world.platform() as platform:
            await platform.run(asked, NONE)
            await world.until(is_ready)
            spec = places.read(world.place.spec("demo.app-1"), ProxySpec)
            network = Network(world.place.run).path(1)
            rules = netns.inside(
                network, lambda: subprocess.run(["iptables-save"], capture_output=True, check=True)
            ).stdout.decode()
            await platform.stop(asked.key, 0)

        assert spec is not None
        assert (spec.role, spec.addresses, spec.network) == ("sidecar", ("10.244.0.2",), network)
        assert "--to-ports 15053" in rules
        assert not world.place.spec("demo.app-1").exists()

    running(body)


def test_a_gateway_is_its_proxy_alone():
    async def body(world: World) -> None:
        asked = pod(
            annotations={"inject.istio.io/templates": "gateway"},
            spec={"containers": [{"name": "istio-proxy", "image": "auto"}]},
        )
        async with world.platform() as platform:
            await platform.run(asked, NONE)
            status = await world.until(is_ready)
            spec = places.read(world.place.spec("demo.app-1"), ProxySpec)

        assert spec is not None
        assert (spec.role, spec.edge, container(status, "istio-proxy").ready) == (
            "router",
            True,
            True,
        )

    running(body)


def test_an_app_that_is_killed_is_started_again():
    async def body(world: World) -> None:
        asked = pod()
        async with world.platform() as platform:
            await platform.run(asked, NONE)
            first = pid(await world.until(is_ready))
            os.kill(first, signal.SIGKILL)
            status = await world.until(
                lambda s: container(s).restart_count == 1 and container(s).container_id
            )

        ended = container(status).last_state.terminated
        assert ended is not None
        assert (ended.exit_code, ended.signal) == (137, 9)
        assert pid(status) != first

    running(body)


SCATTERED = "setsid sleep 1000 & setsid sh -c 'sleep 1000; :' & sleep 1000"


def test_nobody_of_a_run_is_left_when_the_next_begins_and_others_stay():
    async def body(world: World) -> None:
        other = {"name": "other", "image": "sh", "args": ["setsid sleep 1000 & exec sleep 1000"]}
        app = {"name": "app", "image": "sh", "args": [SCATTERED]}
        asked = pod(spec={"containers": [app, other]})
        async with world.platform() as platform:
            await platform.run(asked, NONE)
            leader = pid(await world.until(is_ready))
            await world.inside(1, 7)
            network = Network(world.place.run).path(1)
            own = members.of_container(network, "app")
            others = members.of_container(network, "other")
            os.kill(leader, signal.SIGKILL)
            await world.until(
                lambda s: container(s).restart_count == 1 and container(s).container_id
            )
            left = [one for one in own if is_alive(one)]

        assert leader in own
        assert (len(own), len(others)) == (5, 2)
        assert left == []
        assert all(map(is_alive, others))

    running(body)


def test_nobody_is_left_of_a_run_that_ended_while_no_platform_was_there():
    async def body(world: World) -> None:
        asked = pod(script=SCATTERED)
        async with world.platform() as platform:
            await platform.run(asked, NONE)
            leader = pid(await world.until(is_ready))
            own = await world.inside(1, 5)
        os.kill(leader, signal.SIGKILL)
        world.seen.clear()
        async with world.platform():
            await world.until(
                lambda s: container(s).restart_count == 1 and container(s).container_id
            )
            left = [one for one in own if is_alive(one)]

        assert left == []

    running(body)


def test_nobody_is_left_of_a_container_that_is_not_started_again():
    async def body(world: World) -> None:
        asked = pod(script="setsid sleep 1000 & sleep 0.2", spec={"restartPolicy": "Never"})
        async with world.platform() as platform:
            await platform.run(asked, NONE)
            await world.until(lambda s: s.phase == "Succeeded")

            assert members.members(Network(world.place.run).path(1)) == frozenset()

    running(body)


def test_a_crashing_command_says_its_code_and_last_words():
    async def body(world: World) -> None:
        asked = pod(script="echo no such table; exit 3")
        async with world.platform() as platform:
            await platform.run(asked, NONE)
            status = await world.until(
                lambda s: (w := container(s).state.waiting) and w.reason == "CrashLoopBackOff"
            )
            before = platform.logs(asked.key, "app", follow=False, previous=True, tail=1)
            assert await said(before) == "no such table\n"

        waiting = container(status).state.waiting
        assert waiting is not None
        assert "exit code 3: no such table" in waiting.message
        assert "exit code 3: no such table" in condition(status, "Ready")[2]

    running(body)


def test_an_image_that_is_not_mapped_says_what_to_add_and_starts_once_it_is():
    async def body(world: World) -> None:
        asked = pod(image="x/other:1", command=["sleep", "1000"], args=[])
        async with world.platform() as platform:
            await platform.run(asked, NONE)
            status = await world.until(
                lambda s: (w := container(s).state.waiting) and w.reason == "ImageNotMapped"
            )
            with world.images.open("a") as file:
                file.write("[images.other]\n")
            await world.until(is_ready)

        waiting = container(status).state.waiting
        assert waiting is not None
        assert '[images."x/other:1"]' in waiting.message
        assert status.phase == "Pending"

    running(body)


def test_a_pod_is_probed_and_ended_while_the_image_map_is_wrong():
    async def body(world: World) -> None:
        probe = {"exec": {"command": ["test", "-e", "ok"]}, **FAST}
        (world.top / "ok").touch()
        asked = pod(readinessProbe=probe, workingDir=str(world.top))
        async with world.platform() as platform:
            await platform.run(asked, NONE)
            await world.until(is_ready)
            world.images.write_text("[images")
            (world.top / "ok").unlink()
            await world.until(lambda s: not is_ready(s))
            (world.top / "ok").touch()
            status = await world.until(is_ready)
            async with asyncio.timeout(10):
                await platform.stop(asked.key, 1)

        assert container(status).restart_count == 0

    running(body)


def test_readiness_follows_the_probe():
    async def body(world: World) -> None:
        probe = {"httpGet": {"path": "/ready", "port": 8080}, **FAST}
        asked = pod(image="python", script=SERVER, readinessProbe=probe, workingDir=str(world.top))
        async with world.platform() as platform:
            await platform.run(asked, NONE)
            status = await world.until(lambda s: "503" in condition(s, "Ready")[2])
            (world.top / "ok").touch()
            await world.until(is_ready)
            (world.top / "ok").unlink()
            await world.until(lambda s: not is_ready(s))

        assert (
            "Readiness probe failed: HTTP probe failed with statuscode: 503"
            in (condition(status, "ContainersReady")[2])
        )

    running(body)


def test_a_failed_liveness_probe_restarts_the_container():
    async def body(world: World) -> None:
        probe = {"exec": {"command": ["test", "-e", "ok"]}, **FAST}
        (world.top / "ok").touch()
        asked = pod(livenessProbe=probe, workingDir=str(world.top))
        async with world.platform() as platform:
            await platform.run(asked, NONE)
            await world.until(is_ready)
            (world.top / "ok").unlink()
            await world.until(lambda s: container(s).restart_count == 1)

    running(body)


def test_init_containers_run_first_and_in_order():
    async def body(world: World) -> None:
        inits = [
            {"name": name, "image": "sh", "args": [f"echo {name} >> {world.top}/order"]}
            for name in ("one", "two")
        ]
        asked = pod(
            script=f"echo app >> {world.top}/order; sleep 1000", spec={"initContainers": inits}
        )
        async with world.platform() as platform:
            await platform.run(asked, NONE)
            status = await world.until(
                lambda s: is_ready(s) and (world.top / "order").read_text().endswith("app\n")
            )

        assert (world.top / "order").read_text() == "one\ntwo\napp\n"
        assert condition(status, "Initialized")[0] == "True"

    running(body)


def test_stopping_asks_first_and_leaves_nobody():
    async def body(world: World) -> None:
        script = (
            f"trap 'echo bye > {world.top}/bye; exit 0' TERM; setsid sleep 1000 & "
            f"while :; do sleep 0.05; done"
        )
        asked = pod(script=script)
        async with world.platform() as platform:
            await platform.run(asked, NONE)
            await world.until(is_ready)
            inside = await world.inside(1, 2)
            await platform.stop(asked.key, 10)

        assert (world.top / "bye").read_text() == "bye\n"
        assert not any(map(is_alive, inside))
        assert Network(world.place.run).numbers() == ()
        assert not world.place.pod("demo", "app-1").exists()

    running(body)


def test_a_new_platform_goes_on_with_what_runs():
    async def body(world: World) -> None:
        kept, lost = pod(), pod("app-2", uid="u2")
        async with world.platform() as platform:
            await platform.run(kept, NONE)
            await platform.run(lost, NONE)
            first = pid(await world.until(is_ready))
            second = pid(await world.until(is_ready, "app-2"))
        os.kill(second, signal.SIGKILL)
        world.seen.clear()
        async with world.platform() as platform:
            again = pid(await world.until(is_ready))
            await platform.run(kept, NONE)
            status = await world.until(
                lambda s: container(s).restart_count == 1 and is_ready(s), "app-2"
            )
            await platform.stop(kept.key, 1)
            assert not is_alive(first)

        assert again == first
        assert status.pod_ip == "10.244.0.3"

    running(body)


def test_another_pod_of_the_same_name_takes_its_place():
    async def body(world: World) -> None:
        async with world.platform() as platform:
            await platform.run(pod(), NONE)
            first = pid(await world.until(is_ready))
            await platform.run(pod(uid="u2"), NONE)
            await world.until(
                lambda s: is_ready(s) and container(s).container_id and pid(s) != first
            )

        assert not is_alive(first)

    running(body)


def test_what_is_missing_holds_a_pod_back_until_it_is_there():
    async def body(world: World) -> None:
        async with world.platform() as platform:
            await platform.run(pod(), files(problems=['ConfigMap "c" does not exist']))
            await world.until(
                lambda s: (
                    (w := container(s).state.waiting)
                    and w.reason == "CreateContainerConfigError"
                    and "ConfigMap" in w.message
                )
            )
            await platform.run(pod(), NONE)
            await world.until(is_ready)

    running(body)
