"""What a manager is made with: checked once, immutable after, until it is released."""

from __future__ import annotations

import sys

from ._policy import Backoff, Quota, RestartIntensity, positive
from ._resources import parse_resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.context import BaseContext
    from typing import Any, Literal

    from ._environment import Environment
    from ._pickling import Parcel
    from ._worker import Worker

__all__ = ["Settings", "check_max_workers", "check_min_workers"]


def check_max_workers(max_workers: int | None) -> int:
    """The number of workers: by default as many as this process may use of the processors (cgroup limits count)."""
    if max_workers is None:
        return _default_workers()
    if max_workers <= 0:
        raise ValueError("max_workers must be greater than 0")
    if sys.platform == "win32" and max_workers > 61:
        raise ValueError("max_workers must be <= 61")
    return max_workers


def check_min_workers(min_workers: int, max_workers: int) -> None:
    if not isinstance(min_workers, int) or not 0 <= min_workers <= max_workers:
        raise ValueError("min_workers must be an integer from 0 to max_workers")


def _default_workers() -> int:
    from loky import cpu_count  # takes long to import

    count: int = cpu_count()
    return max(1, count)


class Settings:
    __slots__ = (
        "backoff",
        "context",
        "encode_result",
        "environment",
        "finalizer",
        "forward_logging",
        "idle_timeout",
        "initargs",
        "initializer",
        "intensity",
        "max_workers",
        "min_workers",
        "quota",
        "resources",
    )

    def __init__(
        self,
        max_workers: int | None,
        mp_context: BaseContext | str | None,
        initializer: Callable[..., object] | None,
        initargs: tuple[Any, ...],
        *,
        max_tasks_per_child: int | None = None,
        max_memory_per_child: int | str | None = None,
        max_age_per_child: float | None = None,
        idle_timeout: float | None = None,
        min_workers: int = 0,
        finalizer: Callable[[], object] | None = None,
        restart_intensity: RestartIntensity | None = None,
        backoff: Backoff | None = None,
        resources: Mapping[str, int] | None = None,
        forward_logging: bool | str = True,
        env: Mapping[str, str] | None = None,
        worker_threads: int | Literal["auto"] | None = None,
    ) -> None:
        from ._pickling import encode
        from ._start import choose_context

        self.max_workers = check_max_workers(max_workers)
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if finalizer is not None and not callable(finalizer):
            raise TypeError("finalizer must be a callable")
        check_min_workers(min_workers, self.max_workers)
        if forward_logging not in (True, False, "always"):
            raise ValueError('forward_logging must be True, False or "always"')
        self.quota = Quota(max_tasks_per_child, max_memory_per_child, max_age_per_child)
        self.resources = parse_resources(resources)
        self.context = choose_context(mp_context, initargs)
        self.initializer = initializer
        self.initargs = initargs
        self.idle_timeout = positive(idle_timeout, "idle_timeout")
        self.min_workers = min_workers
        self.finalizer = finalizer
        self.encode_result: Callable[[Any], bytes | Parcel] = encode  # by which workers pickle results
        self.forward_logging = forward_logging
        self.environment: Environment | None = None
        if env is not None or worker_threads is not None:
            from ._environment import Environment

            self.environment = Environment.of(env, worker_threads, self.max_workers)
        # All workers may be killed at once from outside, and twice, before that is taken for a fault of the pool.
        self.intensity = restart_intensity or RestartIntensity(max(5, 2 * self.max_workers))
        self.backoff = backoff or Backoff()
        if initializer is not None and self.forks_here:
            from ._main_globals import prepare_fork

            prepare_fork(initializer, self.main_by_value())

    @property
    def initializes(self) -> bool:
        """Whether a worker has anything of the user's to load before its first call."""
        return self.initializer is not None or self.finalizer is not None

    def inherited(self) -> tuple[Any, ...] | None:
        """What a worker that is a fork of this process is given as it is."""
        return (self.initializer, self.initargs, self.finalizer) if self.forks_here else None

    def initial(self) -> bytes | Parcel:
        """The same, pickled, for any other worker; raises whatever its pickling raises."""
        from ._pickling import encode

        if self.forks_here or not self.initializes:
            return b""
        try:
            return encode((self.initializer, self.initargs, self.finalizer), main_by_value=self.main_by_value())
        except BaseException as error:
            if self.initializer is not None:
                from ._unpicklable import note_argument

                note_argument(error, (self.initializer, self.initargs, {}))
            raise

    def facts(self, worker: Worker) -> dict[str, Any]:
        """What any worker is told of the parent's surroundings when it is set up."""
        forwarding = None
        if self.forward_logging:
            from ._log_handling import current_state

            worker.logging_version, state = current_state()
            forwarding = state, self.forward_logging == "always"
        return {
            "logging": forwarding,
            "encode": self.encode_result,
            "initializes": self.initializes,
            "memory_quota": self.quota.memory is not None,
        }

    def release(self) -> None:
        """No worker is started any more: let go of what it would be given."""
        self.initializer = self.finalizer = None
        self.initargs = ()

    @property
    def method(self) -> str:
        """The name of the start method."""
        context: Any = self.context
        name = context.get_start_method(allow_none=False) if hasattr(context, "get_start_method") else ""
        return str(getattr(context, "_name", None) or name)

    @property
    def forks_here(self) -> bool:
        """Whether workers are forks of this very process."""
        return self.method == "fork"

    def main_by_value(self) -> bool:
        """Whether what the main module defines is to be sent by value: workers cannot import it."""
        from ._pickling import main_is_importable

        return self.method == "loky" or not main_is_importable()
