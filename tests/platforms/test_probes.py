"""Probes: counting, and asking over each protocol."""

import asyncio
from collections.abc import Sequence
from concurrent import futures

import grpc
import pytest

from plait.base.processes import Command
from plait.config.kinds.container import (
    ExecAction,
    GRPCAction,
    HTTPGetAction,
    LifecycleHandler,
    Probe,
    SleepAction,
    TCPSocketAction,
)
from plait.platforms.local.health import status
from plait.platforms.local.probes import Pace, Tally, Target, ask, count, pace, verdicts


def entry(command: Sequence[str]) -> Command:
    return Command(command=tuple(command), environment={"PATH": "/usr/bin:/bin"})


TARGET = Target(network="", address="127.0.0.1", ports={"web": 1}, entry=entry)


def asked(handler: Probe | LifecycleHandler, target: Target = TARGET, timeout: float = 5) -> str:
    return asyncio.run(ask(handler, target, timeout))


def served(answer: bytes, probe: HTTPGetAction | TCPSocketAction) -> str:
    async def serve() -> str:
        async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if await reader.readline():
                writer.write(answer)
            writer.close()

        server = await asyncio.start_server(one, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        target = Target(network="", address="127.0.0.1", ports={"web": port}, entry=entry)
        is_http = isinstance(probe, HTTPGetAction)
        handler = Probe(http_get=probe) if is_http else Probe(tcp_socket=probe)  # type: ignore[arg-type]
        async with server:
            return await ask(handler, target, 5)

    return asyncio.run(serve())


def test_what_is_not_said_is_kubernetes_default():
    assert pace(Probe()) == Pace(delay=0, timeout=1, period=10, successes=1, failures=3)


def test_as_many_equal_answers_in_a_row_as_it_takes_make_a_verdict():
    found, tally = [], Tally()
    settings = Pace(successes=2, failures=2)

    for answer in (True, True, True, False, True, False, False):
        tally, verdict = count(tally, settings, has_passed=answer)
        found.append(verdict)

    assert found == [None, True, True, None, None, None, False]


def test_a_good_answer_is_found_before_the_period_is_over():
    answers = iter(["not yet", "not yet", "", ""])

    async def run() -> list[tuple[bool, str]]:
        async def answer() -> str:
            return next(answers)

        async with asyncio.timeout(10):
            async for verdict in verdicts(Pace(period=3600), answer):
                return [verdict]
        return []

    assert asyncio.run(run()) == [(True, "")]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", ""),
        (b"HTTP/1.0 302 Found\r\n\r\n", ""),
        (b"HTTP/1.1 503 no\r\n\r\n", "HTTP probe failed with statuscode: 503"),
        (b"220 mail\r\n", "no answer of HTTP"),
        (b"", "no answer of HTTP"),
    ],
)
def test_http_answers(answer, expected):
    assert served(answer, HTTPGetAction(path="health", port="web")) == expected


def test_an_open_port_is_enough_for_a_tcp_probe():
    assert served(b"", TCPSocketAction(port="web")) == ""


def test_a_closed_port_is_named():
    assert "Connect call failed" in asked(Probe(tcp_socket=TCPSocketAction(port="1")))


def test_an_unknown_port_name_is_said():
    assert asked(Probe(tcp_socket=TCPSocketAction(port="wbe"))) == (
        'the container has no port named "wbe"'
    )


@pytest.mark.parametrize(
    ("script", "expected"),
    [("exit 0", ""), ("echo no; exit 1", "no"), ("exit 3", "exit code 3")],
)
def test_commands(script, expected):
    assert asked(Probe(exec=ExecAction(command=("sh", "-c", script)))) == expected


def test_a_command_that_hangs_is_ended():
    probe = Probe(exec=ExecAction(command=("sleep", "1000")))

    assert asked(probe, timeout=0.5) == "no answer within 0.5 s"


def test_a_pause_passes():
    assert asked(LifecycleHandler(sleep=SleepAction(seconds=0))) == ""


@pytest.mark.parametrize(
    ("message", "expected"),
    [(b"", "UNKNOWN"), (b"\x08\x01", ""), (b"\x08\x02", "NOT_SERVING"), (b"\x08\x09", "status 9")],
)
def test_health_answers(message, expected):
    assert status(message) == expected


@pytest.mark.parametrize(("answer", "expected"), [(b"\x08\x01", ""), (b"\x08\x02", "NOT_SERVING")])
def test_a_grpc_server_is_asked(answer, expected):
    said, server = _grpc(answer)

    try:
        found = asked(Probe(grpc=GRPCAction(port=said, service="a.B")))
    finally:
        server.stop(None).wait()

    assert found == (f'service "a.B" answered {expected}' if expected else "")


def test_a_grpc_server_without_health_is_not_well():
    port, server = _grpc(None)

    try:
        found = asked(Probe(grpc=GRPCAction(port=port)))
    finally:
        server.stop(None).wait()

    assert found == 'service "" answered an error instead of a health status'


def _grpc(answer: bytes | None) -> tuple[int, grpc.Server]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    if answer is not None:
        handler = grpc.unary_unary_rpc_method_handler(
            lambda request, _: answer if request in (b"\x0a\x03a.B", b"") else b"\x08\x03"
        )
        service = grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler})
        server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return port, server
