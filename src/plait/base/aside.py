"""Something done in a thread of its own, because what it needs belongs to a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def aside(name: str, become: Callable[[], None], act: Callable[[], T]) -> T:
    """Do `become`, then `act`, in a thread that ends with it; what `act` returns.

    What `become` changes of the thread, such as its network or its rights, changes nobody else.

    Raises:
        BaseException: whatever one of the two raises.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            become()
            outcome.append(act())
        except BaseException as error:  # noqa: BLE001 - it is raised where it belongs
            failure.append(error)

    thread = threading.Thread(target=run, name=name)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]
