"""Processes that outlive who started them."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plait.base import processes
from plait.base.processes import Command, Handle, Process
from tests.support.envoy import eventually
from tests.support.netns import Network, envoy_readable, needs_root

SLEEP = Command(command=("/bin/sleep", "300"))


@contextmanager
def started(command: Command, directory: Path) -> Iterator[Process]:
    process = processes.start(command, directory / "log")
    try:
        yield process
    finally:
        process.send_all(signal.SIGKILL)
        asyncio.run(process.wait())


def ended(command: Command, directory: Path) -> tuple[int | None, str]:
    """Exit code and words of a command."""
    with started(command, directory) as process:
        return asyncio.run(process.wait()), (directory / "log").read_text()


def is_running(process: Process, name: str) -> bool:
    """Whether it became the program."""
    return Path(f"/proc/{process.pid}/comm").read_text().strip() == name


def test_it_has_the_environment_and_the_directory_that_it_is_given_and_no_other(tmp_path: Path):
    command = Command(
        command=("/bin/sh", "-c", "pwd; export -p"),
        environment={"COLOUR": "red"},
        directory=str(tmp_path),
    )

    code, said = ended(command, tmp_path)

    assert code == 0
    assert str(tmp_path) in said
    assert "red" in said
    assert "HOME" not in said


def test_its_variables_are_not_among_the_arguments_that_everybody_may_read(tmp_path: Path):
    values = {f"V{i}": f"secret-{i}" * 10_000 for i in range(20)}  # more than arguments can hold
    command = Command(command=("/bin/sh", "-c", "echo ${#V0} ${#V19}"), environment=values)

    with command.launcher() as (launcher, request):
        assert "secret" not in " ".join(launcher)
        assert launcher[-4:] == (str(request), *command.command)
    assert ended(command, tmp_path) == (0, "80000 90000\n")


def test_a_program_inherits_no_file_of_who_started_it(tmp_path: Path):
    code, said = ended(Command(command=("/bin/ls", "/proc/self/fd")), tmp_path)

    assert (code, said.split()) == (0, ["0", "1", "2", "3"])  # the last is the directory itself


def test_what_it_says_is_added_to_the_log(tmp_path: Path):
    command = Command(command=("/bin/sh", "-c", "echo out; echo wrong >&2"))

    ended(command, tmp_path)
    _, said = ended(command, tmp_path)

    assert said.split() == ["out", "wrong"] * 2


def test_the_exit_code_of_a_child_is_known_and_the_signal_that_ended_it(tmp_path: Path):
    assert ended(Command(command=("/bin/sh", "-c", "exit 7")), tmp_path)[0] == 7
    with started(SLEEP, tmp_path) as process:
        process.send(signal.SIGKILL)
        assert asyncio.run(process.wait()) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (
            Command(command=("no-such-program",)),
            127,
            "cannot start no-such-program: no such command in PATH\n",
        ),
        (
            Command(command=("/dev/null",)),
            126,
            f"cannot start /dev/null: Permission denied to user {os.geteuid()}\n",
        ),
        (Command(command=("sh",), network="/run/netns/no-such"), 127, "/run/netns/no-such"),
        (Command(command=("sh",), directory="/no-such"), 127, "cannot start /no-such"),
    ],
)
def test_what_cannot_be_started_says_so_in_its_log(
    tmp_path: Path, command: Command, code: int, words: str
):
    found, said = ended(command, tmp_path)

    assert found == code
    assert words in said


@needs_root
def test_what_another_user_may_not_do_names_that_user(tmp_path: Path):
    tmp_path.chmod(0o700)
    command = Command(command=("/bin/true",), directory=str(tmp_path), uid=4711)

    said = f"cannot start {tmp_path}: Permission denied to user 4711\n"
    assert ended(command, tmp_path) == (126, said)


def test_a_signal_to_all_reaches_what_it_started(tmp_path: Path):
    command = Command(command=("/bin/sh", "-c", "sleep 301 & echo $!; wait"))
    with started(command, tmp_path) as process:
        child = int(str(eventually((tmp_path / "log").read_text)))
        process.send_all(signal.SIGTERM)
        asyncio.run(process.wait())

        eventually(lambda: not Path(f"/proc/{child}").exists(), what="its child is gone")


def test_who_comes_next_finds_it_by_its_handle_and_learns_of_its_end(tmp_path: Path):
    async def story(process: Process, found: Process) -> int | None:
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            waiting = group.create_task(found.wait())
            await asyncio.sleep(0)
            process.send(signal.SIGKILL)
            await process.wait()
            return await waiting

    with started(SLEEP, tmp_path) as process:
        found = processes.adopt(process.handle)
        assert found is not None
        assert found.is_alive()
        assert asyncio.run(story(process, found)) is None
        assert not found.is_alive()
        assert processes.adopt(process.handle) is None


def test_another_process_with_the_same_number_is_not_taken_for_it():
    mine = processes.current()
    other = Handle(mine.pid, mine.started - 1)

    assert processes.adopt(mine) is not None
    assert processes.adopt(other) is None
    Process(other).send(signal.SIGKILL)  # else this was the last line
    asyncio.run(Process(other).wait())


def test_it_outlives_who_started_it_even_if_it_asks_to_end_with_its_parent(tmp_path: Path):
    program = (
        "import ctypes, time; ctypes.CDLL(None).prctl(1, 15); print('asked', flush=True); "
        "time.sleep(300)"
    )
    starter = (
        "import sys; from pathlib import Path; from plait.base.processes import Command, start;"
        f"p = start(Command(command=(sys.executable, '-c', {program!r}), is_orphan=True),"
        f" Path({str(tmp_path / 'log')!r})); print(p.pid, p.handle.started)"
    )
    done = subprocess.run([sys.executable, "-c", starter], capture_output=True, text=True)
    found = processes.adopt(Handle(*map(int, done.stdout.split())))
    try:
        assert found is not None
        eventually(lambda: "asked" in (tmp_path / "log").read_text())
        assert found.is_alive()
        assert os.getsid(found.pid) == found.pid
    finally:
        if found is not None:
            found.send_all(signal.SIGKILL)


def test_a_process_is_found_by_its_arguments_before_and_after_it_became_itself(tmp_path: Path):
    mark = str(tmp_path)
    with started(Command(command=("/bin/sh", "-c", "sleep 300; :", mark)), tmp_path) as process:
        early = processes.find("sleep 300; :", mark)
        eventually(lambda: is_running(process, "sh"))
        late = eventually(lambda: processes.find("sleep 300; :", mark))

    assert early is not None
    assert late is not None
    assert early.handle == late.handle == process.handle
    assert processes.find("sleep 300; :", mark) is None


def test_a_process_is_found_at_every_moment_while_it_becomes_itself(tmp_path: Path):
    mark = str(tmp_path)
    with started(Command(command=("/bin/sh", "-c", "sleep 300; :", mark)), tmp_path) as process:
        while not is_running(process, "sh"):
            assert processes.find("sleep 300; :", mark) is not None


@needs_root
def test_it_becomes_another_user_though_that_one_cannot_reach_the_program(tmp_path: Path):
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    program = shutil.copy("/bin/sleep", hidden / "sleep")
    command = Command(command=("sleep", "300"), uid=1337, gid=1337, executable=str(program))
    with started(command, tmp_path) as process:
        eventually(lambda: Path(f"/proc/{process.pid}").stat().st_uid == 1337)
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        about = {name: value.split() for name, _, value in (one.partition(":") for one in lines)}

    assert about["Uid"] == about["Gid"] == ["1337"] * 4
    assert about["Groups"] == []
    assert about["CapEff"] == ["0" * 16]


@needs_root
def test_it_is_in_the_network_and_sees_the_files_that_it_is_given(tmp_path: Path):
    envoy_readable(tmp_path)
    (tmp_path / "hosts").write_text("mine\n")
    with Network() as network:
        network.host("a")
        command = Command(
            command=("/bin/sh", "-c", "cat /etc/hosts; hostname; ip -4 -o addr show eth0"),
            environment={"PATH": os.environ["PATH"]},
            network=f"/run/netns/{network.namespace('a')}",
            mounts=((str(tmp_path / "hosts"), "/etc/hosts"),),
            hostname="web-1",
        )
        code, said = ended(command, tmp_path)

    assert code == 0
    assert said.split()[:2] == ["mine", "web-1"]
    assert "10.77.0.1/24" in said
    assert Path("/etc/hosts").read_text() != "mine\n"


@pytest.mark.parametrize("wanted", [64, 2**30])
def test_it_may_have_as_many_files_as_it_asks_for_or_as_is_allowed(tmp_path: Path, wanted: int):
    code, said = ended(Command(command=("/bin/sh", "-c", "ulimit -n"), open_files=wanted), tmp_path)

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert code == 0
    assert int(said) == wanted if wanted < most else int(said) >= most


def test_neither_who_holds_keys_nor_what_it_starts_leaves_a_core(tmp_path: Path):
    crash = "import os, subprocess; subprocess.run(['sh', '-c', 'kill -ABRT $$']); os.abort()"
    program = f"from plait.base import processes; processes.leave_no_core(); {crash}"
    usual = ("prlimit", "--core=unlimited:unlimited", sys.executable, "-c")

    subprocess.run([*usual, program], cwd=tmp_path, check=False)

    assert list(tmp_path.iterdir()) == []
