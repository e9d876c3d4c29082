"""A call that runs once in every worker."""

from __future__ import annotations

import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from ._executor import ProcessPoolExecutor
    from ._future import Future
    from ._options import Options

    T = TypeVar("T")

__all__ = ["broadcast"]


def broadcast(
    executor: ProcessPoolExecutor,
    options: Options,
    fn: Callable[..., T],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> list[Future[T]]:
    """One future for each slot: the worker that has it runs the call before what else it is to begin."""
    first = {"slot": None, "key": None, "retries": 0, "priority": math.inf}
    slots = range(executor._session.engine.settings.max_workers)
    return [executor._submit(options.changed(first | {"slot": slot}), fn, args, kwargs) for slot in slots]
