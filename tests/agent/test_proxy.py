"""``plait proxy`` with a real Envoy: it leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.envoy import base_id, eventually
from tests.support.plane import PLAIT, ROOT, Plane


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    with Plane(tmp_path_factory.mktemp("plane")) as running:
        yield running


class Agent:
    """``plait proxy gateway`` whose private directories are made in `directory`."""

    def __init__(self, plane: Plane, directory: Path, *more: str) -> None:
        self.directory = directory
        self.log = directory / "said"
        self.base_id = base_id()
        own = ("--xds", plane.xds, "--name", "edge", "--base-id", self.base_id)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*PLAIT, "proxy", "gateway", *own, *more],
                stdout=log,
                stderr=log,
                env={**os.environ, "TMPDIR": str(directory)},
                cwd=ROOT,
            )

    def said(self, text: str) -> str:
        """Wait until it said `text`; all that it said."""
        return str(eventually(lambda: text in self.log.read_text() and self.log.read_text(), 20))

    def envoy(self) -> int:
        """Process id of its Envoy."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(str(eventually(path.read_text, 10)).split()[0])

    def ask(self, sign: signal.Signals) -> None:
        os.kill(self.process.pid, sign)

    @property
    def left(self) -> list[str]:
        """What it has in its directory and in shared memory."""
        private = [path.name for path in self.directory.glob("plait-proxy-*")]
        shared = Path(f"/dev/shm/envoy_shared_memory_{int(self.base_id) * 10}")
        return [*private, *([shared.name] if shared.exists() else [])]


@contextmanager
def agent(plane: Plane, directory: Path, *more: str) -> Iterator[Agent]:
    running = Agent(plane, directory, *more)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.ask(signal.SIGKILL)
        running.process.wait(20)
        shared = Path(f"/dev/shm/envoy_shared_memory_{int(running.base_id) * 10}")
        shared.unlink(missing_ok=True)


def is_gone(pid: int) -> bool:
    try:
        return "(zombie)" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_end_it_leaves_nothing(plane: Plane, tmp_path: Path, sign: signal.Signals):
    with agent(plane, tmp_path) as running:
        said = running.said("ready: ")
        envoy = running.envoy()
        running.ask(sign)
        code = running.process.wait(20)

    assert "router~127.0.0.1~edge.default~default.svc.cluster.local: ready: " in said
    assert code == 0
    assert is_gone(envoy)
    assert running.left == []


def test_what_envoy_is_told_is_for_its_user_alone(plane: Plane, tmp_path: Path):
    with agent(plane, tmp_path) as running:
        running.said("ready: ")
        (private,) = tmp_path.glob("plait-proxy-*")
        mode = stat.S_IMODE(private.stat().st_mode)
        running.ask(signal.SIGTERM)
        running.process.wait(20)

    assert mode == 0o700


def test_an_envoy_that_crashes_is_started_again(plane: Plane, tmp_path: Path):
    with agent(plane, tmp_path) as running:
        running.said("ready: ")
        first = running.envoy()
        os.kill(first, signal.SIGKILL)
        running.said("ended by itself (exit code -9); starting it again in 0.5 s")
        eventually(lambda: running.log.read_text().count("ready: ") == 2, 20)
        second = running.envoy()
        running.ask(signal.SIGTERM)
        code = running.process.wait(20)

    assert code == 0
    assert second != first
    assert is_gone(second)


def test_a_keeper_that_is_killed_leaves_no_envoy(plane: Plane, tmp_path: Path):
    with agent(plane, tmp_path) as running:
        running.said("ready: ")
        envoy = running.envoy()
        running.ask(signal.SIGKILL)
        running.process.wait(20)

        eventually(lambda: is_gone(envoy), 20, "Envoy is gone")


def test_an_envoy_that_cannot_start_ends_it_with_envoys_own_words(plane: Plane, tmp_path: Path):
    with agent(plane, tmp_path, "--admin", plane.api) as running:
        code = running.process.wait(20)

    assert code == 1
    assert "error: Envoy did not start" in running.log.read_text()
    assert "Address already in use" in running.log.read_text()
    assert running.left == []


def test_who_shares_memory_with_another_is_told_in_envoys_own_words(plane: Plane, tmp_path: Path):
    with agent(plane, tmp_path) as running:
        running.said("ready: ")
        with agent(plane, tmp_path, "--base-id", running.base_id) as second:
            code = second.process.wait(20)
        running.ask(signal.SIGTERM)
        running.process.wait(20)

    assert code == 1
    assert "see --base-id option" in second.log.read_text()


def test_proxies_of_one_machine_are_apart_by_themselves(plane: Plane, tmp_path: Path):
    logs = [tmp_path / f"n{base_id()}" for _ in range(2)]
    running = []
    try:
        for log in logs:
            own = (*PLAIT, "proxy", "gateway", "--xds", plane.xds, "--name", log.name)
            with log.open("wb") as words:
                running.append(subprocess.Popen(own, stdout=words, stderr=words, cwd=ROOT))
        eventually(lambda: all("ready: " in log.read_text() for log in logs), 20)
    finally:
        for process in running:
            process.terminate()
        codes = [process.wait(20) for process in running]

    assert codes == [0, 0]


def test_envoys_words_go_to_the_file_that_was_named(plane: Plane, tmp_path: Path):
    words = tmp_path / "envoy.log"
    with agent(plane, tmp_path, "--log-file", str(words), "--log-level", "info") as running:
        running.said("ready: ")
        running.ask(signal.SIGTERM)
        running.process.wait(20)

    assert "all dependencies initialized" in words.read_text()


@pytest.mark.parametrize("flag", ["--xds", "--stats", "--health", "--ip", "--labels", "--metadata"])
def test_a_flag_that_cannot_be_read_is_a_wrong_command_line(
    plane: Plane, tmp_path: Path, flag: str
):
    with agent(plane, tmp_path, flag, "nonsense") as running:
        code = running.process.wait(20)

    assert code == 2
    assert running.log.read_text().splitlines()[-1].startswith("error: ")
    assert "nonsense" in running.log.read_text()
