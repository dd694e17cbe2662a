"""Probes: how often a container is asked how it does, how, and what the answers amount to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from subprocess import DEVNULL, PIPE, STDOUT

from msgspec import Struct

from plait.base import netns
from plait.base.processes import Command
from plait.config.kinds import container as kinds
from plait.platforms.local import health

EAGER = 0.25
"""Seconds between questions before the first good answer: on one machine nobody should wait for
the rest of a period; what fails in between does not count."""
_LONGEST_ANSWER = 10 * 1024
_Handler = kinds.Probe | kinds.LifecycleHandler


class Pace(Struct, frozen=True, kw_only=True):
    """When to ask, and how many equal answers make a verdict; Kubernetes' defaults."""

    delay: float = 0.0
    timeout: float = 1.0
    period: float = 10.0
    successes: int = 1
    failures: int = 3


class Tally(Struct, frozen=True, kw_only=True):
    """Equal answers in a row."""

    passed: int = 0
    failed: int = 0


class Target(Struct, frozen=True, kw_only=True):
    """Who is asked.

    Attributes:
        network: path of its network namespace.
        ports: numbers by name.
        entry: makes a command that runs inside, for ``exec``.
    """

    network: str
    address: str
    ports: Mapping[str, int]
    entry: Callable[[Sequence[str]], Command]


def pace(probe: kinds.Probe) -> Pace:
    """The probe's pace; zero and what is not said are Kubernetes' defaults."""
    return Pace(
        delay=probe.initial_delay_seconds or 0,
        timeout=probe.timeout_seconds or 1,
        period=probe.period_seconds or 10,
        successes=probe.success_threshold or 1,
        failures=probe.failure_threshold or 3,
    )


def count(tally: Tally, pace: Pace, *, has_passed: bool) -> tuple[Tally, bool | None]:
    """Count an answer; the verdict of as many equal ones in a row as it takes, or None."""
    if has_passed:
        tally = Tally(passed=min(tally.passed + 1, pace.successes))
        return tally, True if tally.passed >= pace.successes else None
    tally = Tally(failed=min(tally.failed + 1, pace.failures))
    return tally, False if tally.failed >= pace.failures else None


async def verdicts(
    pace: Pace, ask: Callable[[], Awaitable[str]]
) -> AsyncGenerator[tuple[bool, str], None]:
    """Ask for ever; yield each verdict, with the last answer."""
    await asyncio.sleep(pace.delay)
    tally, has_ever_passed = Tally(), False
    while True:
        answer = await ask()
        tally, verdict = count(tally, pace, has_passed=not answer)
        has_ever_passed = has_ever_passed or not answer
        if verdict is not None:
            yield verdict, answer
        rest = pace.period
        while not has_ever_passed and rest > EAGER:
            await asyncio.sleep(EAGER)
            rest -= EAGER
            if not await ask():
                rest = 0
        await asyncio.sleep(rest)


async def ask(handler: _Handler, target: Target, timeout: float) -> str:  # noqa: ASYNC109
    """Ask once; empty: it is well; else what it answered, in kubelet's words where it has some."""
    try:
        async with asyncio.timeout(timeout):
            return await _answer(handler, target)
    except TimeoutError:
        return f"no answer within {timeout:g} s"
    except asyncio.IncompleteReadError:
        return "it ended the connection without an answer"
    except (OSError, ValueError) as error:
        return str(error)


async def _answer(handler: _Handler, target: Target) -> str:
    if handler.exec is not None:
        return await _exec(target.entry(handler.exec.command))
    if handler.http_get is not None:
        return await _http(handler.http_get, target)
    if handler.tcp_socket is not None:
        host, port = handler.tcp_socket.host, _port(handler.tcp_socket.port, target)
        (await netns.connected(target.network, (host or target.address, port))).close()
    elif isinstance(handler, kinds.Probe) and handler.grpc is not None:
        async with _connection(target, target.address, handler.grpc.port) as (reader, writer):
            authority = f"{target.address}:{handler.grpc.port}"
            said = await health.check(reader, writer, authority, handler.grpc.service)
            return f'service "{handler.grpc.service}" answered {said}' if said else ""
    elif isinstance(handler, kinds.LifecycleHandler) and handler.sleep is not None:
        await asyncio.sleep(handler.sleep.seconds)
    return ""


async def _exec(command: Command) -> str:
    with command.launcher() as (launcher, request):
        process = await asyncio.create_subprocess_exec(
            *launcher,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            start_new_session=True,
            pass_fds=(request,),
        )
    try:
        said = b""
        while process.stdout and (part := await process.stdout.read(65536)):
            said = (said + part)[:_LONGEST_ANSWER]
        code = await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return "" if code == 0 else said.decode(errors="replace").strip() or f"exit code {code}"


async def _http(action: kinds.HTTPGetAction, target: Target) -> str:
    port = _port(action.port, target)
    host = action.host or target.address
    path = action.path if action.path.startswith("/") else f"/{action.path}"
    headers = {"Host": f"{host}:{port}", "User-Agent": "kube-probe/plait", "Accept": "*/*"}
    headers |= {header.name: header.value for header in action.http_headers}
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    async with _connection(target, host, port, tls=action.scheme.upper() == "HTTPS") as (
        reader,
        writer,
    ):
        writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        status = (await reader.readline()).split()
    if len(status) < 2 or not status[0].startswith(b"HTTP/") or not status[1].isdigit():
        return "no answer of HTTP"
    code = int(status[1])
    return "" if 200 <= code < 400 else f"HTTP probe failed with statuscode: {code}"


@contextlib.asynccontextmanager
async def _connection(
    target: Target, host: str, port: int, *, tls: bool = False
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    sock = await netns.connected(target.network, (host, port))
    security = _unverified() if tls else None
    name = host if tls else None
    try:
        reader, writer = await asyncio.open_connection(
            sock=sock, ssl=security, server_hostname=name
        )
    except BaseException:
        sock.close()
        raise
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def _unverified() -> ssl.SSLContext:
    """As kubelet: a probe asks whether somebody answers, not who."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _port(port: int | str, target: Target) -> int:
    if isinstance(port, int):
        return port
    if port in target.ports:
        return target.ports[port]
    if port.isdecimal():
        return int(port)
    raise ValueError(f'the container has no port named "{port}"')
