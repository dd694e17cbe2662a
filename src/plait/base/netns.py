"""Sockets in other network namespaces: one process can listen and call in all of them."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from plait.base.aside import aside

T = TypeVar("T")
_NETWORK = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def inside(namespace: str, act: Callable[[], T]) -> T:
    """Do something in a network namespace, in a thread that ends with it; empty path: here.

    A socket stays in the namespace where it was made, whoever uses it.

    Raises:
        OSError: there is no such namespace, or entering it is forbidden; and what `act` raises.
    """
    if not namespace:
        return act()
    name = f"netns:{Path(namespace).name}"
    return aside(name, lambda: _enter(namespace), act)


def bound(namespace: str, kind: socket.SocketKind, address: tuple[str, int]) -> socket.socket:
    """A non-blocking IPv4 socket bound in a namespace; a stream's listens.

    Raises:
        OSError: the address is taken, or there is no such namespace.
    """

    def bind() -> socket.socket:
        sock = socket.socket(socket.AF_INET, kind)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.settimeout(0)
            sock.bind(address)
            if kind is socket.SOCK_STREAM:
                sock.listen(128)
        except BaseException:
            sock.close()
            raise
        return sock

    return inside(namespace, bind)


async def connected(namespace: str, address: tuple[str, int]) -> socket.socket:
    """A non-blocking TCP connection from a namespace to an IPv4 address.

    Raises:
        OSError: nobody answers there.
    """
    sock = inside(namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    try:
        sock.settimeout(0)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _enter(namespace: str) -> None:
    file = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(file, _NETWORK):
            number = ctypes.get_errno()
            raise OSError(number, f"cannot enter {namespace}: {os.strerror(number)}")
    finally:
        os.close(file)
