"""How a mesh on this machine starts: beside another, with mistakes in it, and where it cannot."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from examples.bookinfo.check import processes as running
from plait.base import place as places
from plait.base import processes
from plait.platforms.local.network import Network
from plait.ui.cli import local
from tests.support import istio, traffic
from tests.support.envoy import eventually
from tests.support.machine import Machine, deployment, directory, service
from tests.support.netns import needs_root
from tests.support.plane import PLAIT, Plane

pytestmark = needs_root


def test_bad_workloads_are_told_with_the_way_out_and_others_come_up():
    with directory() as top, socket.socket() as taken:
        world = Machine(top)
        taken.bind(("127.0.0.1", world.port))
        taken.listen()
        unmapped = deployment("stranger", {"app": "stranger"}, image="registry.test/stranger:1")
        world.images["crash"] = {"command": ["sh", "-c", "echo cannot go on >&2; exit 3"]}
        crashing = deployment("crashing", {"app": "crashing"}, image="crash")
        world.images["idle"] = {"command": ["sleep", "600"]}
        probe: dict[str, Any] = {"tcpSocket": {"port": 1}, "periodSeconds": 1}
        silent = deployment("silent", {"app": "silent"}, image="idle", readinessProbe=probe)
        world.write("gateway", istio.gateway("gw", (world.port, "HTTP")))
        world.write("web", service("web", http=9080), world.backend("web"))
        world.write("bad", unmapped, crashing, silent)
        unread = deployment("unread", {"app": "unread"}, image="idle", replicas="two")  # type: ignore[arg-type]
        odd = deployment("odd", {"app": "odd"}, image="idle", imagePullPolice="Always")
        odd["spec"]["template"]["spec"]["containers"][0].pop("readinessProbe")
        world.write("unread", unread, odd)
        try:
            said = world.up("--timeout", "25", ok=False)
        finally:
            world.down()

    assert "web" in said
    assert "images.toml" in said
    assert '[images."registry.test/stranger' in said
    assert said.count("cannot go on") == 1  # and not again with each wait
    assert "unread.yaml" in said
    assert '"two" is not a whole number' in said
    assert "imagePullPolice: unknown field" in said
    assert "eadiness probe" in said
    assert f"127.0.0.1:{world.port}" in said
    assert "default/web-v1" in said
    assert "1 of 1 ready" in said


def test_up_names_a_wrong_file_and_does_not_wait_for_what_completed():
    with directory() as top:
        world = Machine(top)
        world.images["task"] = {"command": ["echo", "done"]}
        spec = {"restartPolicy": "Never", "containers": [{"name": "task", "image": "task"}]}
        metadata = {"name": "task", "namespace": "default"}
        task = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        (world.files / "wrong.yaml").write_text("kind: [x\n")
        try:
            alone = world.up(ok=False)
            (world.files / "wrong.yaml").unlink()
            world.write("task", task)
            eventually(lambda: "Completed" in world.run("get", "pods"), what="the end")
            completed = world.up("--timeout", "60")
        finally:
            world.down()

    assert "wrong.yaml:2" in alone
    assert "no workload" not in alone
    assert "completed" in completed


def test_a_second_up_waits_until_the_first_has_a_control_plane():
    with directory() as top, ThreadPoolExecutor() as pool:
        world = Machine(top)
        try:
            first = pool.submit(world.up)
            eventually(world.place.mesh.exists, what="a control plane that starts")
            second = world.up()
            first.result()
        finally:
            world.down()

    assert "it runs already" in second


def test_a_second_up_follows_the_first_to_another_port():
    """Who loses the API's usual port ends, and is started again."""
    with directory() as top:
        world = Machine(top)
        world.write("gateway")
        world.place.run.mkdir(parents=True)
        loser = processes.start(processes.Command(command=("sleep", "60")), top / "log")
        note = places.Mesh(files=str(world.files), pid=loser.pid, started=loser.handle.started)
        places.write(world.place.mesh, note)
        command = [*PLAIT, "up", str(world.files), "--data", str(world.data)]
        try:
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as second:
                assert second.stdout is not None
                first_line = second.stdout.readline()
                loser.send(signal.SIGKILL)
                first = local.Machine(world.data)
                first.begin(world.files, world.files / "images.toml", None)
                second.communicate(timeout=60)
        finally:
            world.down()

    assert first_line == "it runs already\n"
    assert second.returncode == 0


def test_two_meshes_that_start_at_once_both_come_up():
    with directory() as top, ThreadPoolExecutor() as pool:
        worlds = []
        for name in ("one", "two"):
            (top / name).mkdir()
            world = Machine(top / name)
            world.write("web", service("web", http=9080), world.backend("web"))
            http = {"route": [istio.to("web", port=9080)]}
            gateway = istio.gateway("gw", (world.port, "HTTP"))
            rules = istio.virtual_service("web", http, hosts=["*"], gateways=["gw"])
            world.write("gateway", gateway, rules)
            worlds.append(world)
        try:
            said = list(pool.map(Machine.up, worlds))
            found = [traffic.names(world.gateway, 5) for world in worlds]
            addresses = {(world.data / "api.address").read_text() for world in worlds}
        finally:
            list(pool.map(Machine.down, worlds))

    assert all("up after" in one for one in said)
    assert found == [{"v1": 5}, {"v1": 5}]
    assert len(addresses) == 2


def test_what_up_says_to_type_next_is_for_its_own_data():
    with directory() as top:
        world = Machine(top)
        world.data = top / "own data"
        world.write("gateway")
        (top / "other").mkdir()
        try:
            said = world.up()
            other = world.run("up", str(top / "other"), "--data", str(world.data), ok=False)
            world.environment.pop("PLAIT_SERVER")
            (status, down) = (
                shlex.split(command)[1:]
                for command in re.findall(r"with: (plait .*?)(?:\.  |\n|$)", said)
            )
            shown = world.run(*status)
            ended = world.run(*down)
        finally:
            world.down()

    assert f"End it with: {shlex.join(['plait', *down])}, or run this one" in other
    assert "no proxy is connected" in shown
    assert "stopped" in ended
    assert not world.data.exists()


@pytest.mark.parametrize("missing", ["iptables-restore", "root"])
def test_what_the_machine_lacks_is_said_in_one_line(missing: str):
    with directory() as top:
        world = Machine(top)
        world.write("web", world.backend("web"))
        bare = top / "bin"
        bare.mkdir()
        (bare / "ip").symlink_to("/usr/sbin/ip")
        if missing == "root":
            world.prefix = ("unshare", "--user")  # where we are nobody
        else:
            world.environment["PATH"] = str(bare)
        said = world.up(ok=False)
        left = world.data.exists()

    assert not left
    assert len(said.strip().splitlines()) <= 2, said
    assert "error:" in said
    assert {"root": "root", "iptables-restore": "iptables"}[missing] in said


def test_a_start_that_fails_leaves_a_users_directory_as_it_was():
    with directory() as top, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        world = Machine(top)
        world.write("web", world.backend("web"))
        world.data.mkdir(mode=0o750)
        (world.data / "own.sock").touch()
        said = world.up("--api", f"127.0.0.1:{taken.getsockname()[1]}", ok=False)
        left = sorted(path.name for path in world.data.iterdir())
        mode = stat.S_IMODE(world.data.stat().st_mode)
        switch = Path("/run/netns", Network(world.place.run).switch)
        alive = running(str(world.data))

    assert "another process listens there" in said
    assert (left, mode) == (["own.sock"], 0o750)
    assert not switch.exists()
    assert alive == []


def test_a_directory_that_is_refused_is_not_made():
    with directory() as top:
        world = Machine(top)
        (top / "closed").mkdir(mode=0o700)
        world.data = top / "closed" / "new" / "data"
        said = world.up(ok=False)
        left = list((top / "closed").iterdir())

    assert f"{top / 'closed'} is closed to other users" in said
    assert left == []


def test_what_is_not_plaits_is_neither_used_nor_removed():
    with directory() as top:
        world = Machine(top)
        world.data.mkdir()
        (world.data / "lock").write_text("mine")
        refused = world.up(ok=False)
        down = world.down()
        kept = (world.data / "lock").read_text()
        (world.data / "lock").rename(world.data / "mine.sock")
        try:
            world.up()
            mode = stat.S_IMODE(world.data.stat().st_mode)
        finally:
            world.down()
        left = [path.name for path in world.data.iterdir()]

    assert f"{world.data / 'lock'} is there and not plait's" in refused
    assert "nothing runs here" in down
    assert kept == "mine"
    assert (left, mode) == (["mine.sock"], 0o755)


def test_down_leaves_alone_what_another_control_plane_uses():
    with directory() as top, Plane(top):
        world = Machine(top)
        said = world.run("down", "--data", str(world.data), ok=False)
        left = (world.data / "plait.db").exists()

    assert "in use by another plait" in said
    assert left
