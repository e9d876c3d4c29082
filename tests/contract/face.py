"""The two modules under the contract: only the import line is different."""

from __future__ import annotations

import importlib
import multiprocessing
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, TypeVar

from tests.support import START_METHODS

T = TypeVar("T")

# Not the standard pool's default before Python 3.14, but the one that it can be trusted with.
DEFAULT = "forkserver"
METHODS = {
    "concurrent.futures": tuple(method for method in START_METHODS if method != "loky"),
    "executor": START_METHODS,
}


@dataclass(frozen=True)
class Face:
    """A module that has ProcessPoolExecutor, wait, as_completed, ..., and the start method to use it with."""

    module_name: str
    start_method: str
    _opened: list[Any] = field(default_factory=list)

    @property
    def module(self) -> ModuleType:
        return importlib.import_module(self.module_name)

    def __getattr__(self, name: str) -> Any:
        """Whatever one would import from the module."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.module, name)

    @property
    def is_standard(self) -> bool:
        return self.module_name == "concurrent.futures"

    def pool(self, max_workers: int | None = 2, **options: Any) -> Any:
        """An executor of this face.  One that a test has not shut down is shut down after it."""
        executor = self.ProcessPoolExecutor(max_workers, **({"mp_context": self.context()} | options))
        self._opened.append(executor)
        return executor

    def context(self) -> Any:
        if self.start_method == "loky":
            return "loky"
        return multiprocessing.get_context(self.start_method)

    def differs(self, *, standard: T, ours: T, because: str) -> T:
        """The expectation for this face, where the two differ on purpose."""
        assert because
        return standard if self.is_standard else ours

    def close(self) -> None:
        """Also lets go of the executors: the last reference to one may matter to the leak check."""
        while self._opened:
            self._opened.pop().shutdown(wait=True, cancel_futures=True)


def faces(every_method: bool) -> list[Face]:
    return [
        Face(module, method)
        for module, methods in METHODS.items()
        for method in methods
        if every_method or method == DEFAULT
    ]
