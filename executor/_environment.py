"""The environment variables of workers, and how many threads numeric libraries use in them."""

from __future__ import annotations

import os
from importlib import import_module
from operator import attrgetter, itemgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Literal

__all__ = ["Environment", "WorkerName"]

# What the libraries read when they are loaded; by the name that threadpoolctl has for the library, where it knows it.
_THREADS = {
    "openmp": "OMP_NUM_THREADS",
    "openblas": "OPENBLAS_NUM_THREADS",
    "mkl": "MKL_NUM_THREADS",
    "blis": "BLIS_NUM_THREADS",
    "accelerate": "VECLIB_MAXIMUM_THREADS",
    "numexpr": "NUMEXPR_NUM_THREADS",
}


class Environment:
    """``variables`` are to be set before anything of the user's is imported; ``limited`` of them are ours."""

    __slots__ = ("limited", "threads", "variables")

    def __init__(self, variables: dict[str, str], threads: int | None, limited: frozenset[str]) -> None:
        self.variables = variables
        self.threads = threads
        self.limited = limited

    @classmethod
    def of(
        cls, env: Mapping[str, str] | None, worker_threads: int | Literal["auto"] | None, max_workers: int
    ) -> Environment | None:
        """For the constructor's arguments; None where there is nothing to set."""
        variables = dict(env) if env is not None else {}
        for name, value in variables.items():
            if not isinstance(name, str) or not isinstance(value, str):
                raise TypeError(f"env must map str to str, not {name!r} to {value!r}")
            if not name or "=" in name or "\0" in name + value:
                raise ValueError(f"env has a name or a value that no variable can have: {name!r}")
        threads = _check_threads(worker_threads, max_workers)
        limited: frozenset[str] = frozenset()
        if threads is not None:
            limited = frozenset(_THREADS.values()) - variables.keys() - os.environ.keys()
            for name in _THREADS.values():  # what the user has set stays; a fork server may have been launched before
                variables.setdefault(name, os.environ.get(name, str(threads)))
        return cls(variables, threads, limited) if variables else None

    def apply(self, *, forked: bool) -> None:
        """In the worker, first thing. ``forked``: from the program itself, with the libraries that it has loaded."""
        os.environ.update(self.variables)
        if forked and self.threads is not None:
            self._limit_loaded_libraries(self.threads)

    def _limit_loaded_libraries(self, threads: int) -> None:
        """They have read their variables already: tell them, if threadpoolctl is there to do it."""
        try:
            import threadpoolctl
        except ImportError:
            return
        for library in threadpoolctl.ThreadpoolController().lib_controllers:
            if _THREADS.get(library.internal_api) in self.limited:
                library.set_num_threads(threads)


def _check_threads(worker_threads: int | Literal["auto"] | None, max_workers: int) -> int | None:
    if worker_threads is None:
        return None
    if worker_threads == "auto":
        from ._settings import check_max_workers

        return max(1, check_max_workers(None) // max_workers)
    if not isinstance(worker_threads, int) or worker_threads < 1:
        raise ValueError('worker_threads must be an integer >= 1, "auto" or None')
    return worker_threads


class WorkerName(str):
    """The name of a process that is to have environment variables: whoever unpickles it has set them, and has a str.

    multiprocessing sends the name ahead, before the main module is imported. That may be before `executor` can be
    imported there: so the pickle names nothing but the standard library.
    """

    if TYPE_CHECKING:
        variables: dict[str, str]
    __slots__ = ("variables",)

    def __new__(cls, name: str, variables: dict[str, str]) -> WorkerName:
        self = super().__new__(cls, name)
        self.variables = variables
        return self

    def __reduce__(self) -> Any:
        return itemgetter(0), ((str(self), _Variables(self.variables)),)


class _Variables:
    """Pickles as ``os.environ``, with some items to be set in it."""

    def __init__(self, variables: dict[str, str]) -> None:
        self._variables = variables

    def __reduce__(self) -> Any:
        return attrgetter("environ"), (_Module("os"),), None, None, iter(self._variables.items())


class _Module:
    """Pickles as the module of that name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __reduce__(self) -> Any:
        return import_module, (self._name,)
