"""The pickler for what plain pickle cannot do: cloudpickle, and what travels only as a descriptor."""

from __future__ import annotations

import io
import pickle
import types
from contextvars import ContextVar
from multiprocessing.reduction import ForkingPickler

import cloudpickle

from . import _main_globals, _shareable, _shareable_descriptors
from ._contexts import reduce_variable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Pickler", "dumps"]

_forking_reducers: dict[type, Callable[[Any], Any]] = ForkingPickler._extra_reducers  # type: ignore[attr-defined]


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(
        self,
        file: io.BytesIO,
        buffer_callback: Callable[[pickle.PickleBuffer], object] | None,
        main_by_value: bool | None = None,
    ) -> None:
        super().__init__(file, 5, buffer_callback)
        self._reducers = _shareable.reducers() | {ContextVar: reduce_variable, types.CodeType: _reduce_code}
        self._main_by_value = main_by_value
        self._versions = _main_globals.Versions()

    def reducer_override(self, obj: object) -> Any:
        reduce = self._reducers.get(type(obj))
        if reduce is None:
            reduce = _forking_reducers.get(type(obj))
        if reduce is not None:
            return reduce(obj)
        reduced = super().reducer_override(obj)
        if self._main_by_value is not None and type(obj) is types.FunctionType and type(reduced) is tuple:
            return _main_globals.bind(obj, reduced, self._main_by_value, self._versions)
        return reduced


def _reduce_code(code: types.CodeType) -> tuple[Any, ...]:
    """As cloudpickle does it, and with the file that the code is from, which cloudpickle 3.1.3 and later leave out:
    a traceback or a warning out of a lambda is of no use without it.
    """
    make, arguments = cloudpickle.Pickler.dispatch_table[types.CodeType](code)
    return _code_in, (code.co_filename, make, arguments)


def _code_in(filename: str, make: Callable[..., types.CodeType], arguments: tuple[Any, ...]) -> types.CodeType:
    return make(*arguments).replace(co_filename=filename)


class _NamePickler(Pickler):
    """Functions and classes by name, as plain pickle; those of ``by_value``'s modules as cloudpickle does."""

    by_value: frozenset[str | None] = frozenset(("builtins",))  # some types there have no name to be found by

    def reducer_override(self, obj: object) -> Any:
        if isinstance(obj, (types.FunctionType, type)) and obj.__module__ not in self.by_value:
            return NotImplemented
        return super().reducer_override(obj)


class _MainPickler(_NamePickler):
    by_value = frozenset(("builtins", "__main__"))


_PICKLERS = {"all": Pickler, "main": _MainPickler, "none": _NamePickler}


def dumps(
    obj: object,
    plain: BaseException | None,
    buffer_callback: Callable[[pickle.PickleBuffer], object],
    main_by_value: bool | None,
    by_value: str,
) -> tuple[bytes, list[int]]:
    """The pickle and the descriptors beside it (the caller's to close).

    ``plain`` is the error of the plain pickler: where this one fails too, it is the one to raise, since it
    speaks of the caller's own object and not of cloudpickle's ways.
    """
    try:
        return _shareable_descriptors.dump_collecting(
            lambda file: _PICKLERS[by_value](file, buffer_callback, main_by_value), obj
        )
    except BaseException as error:
        if plain is None or isinstance(error, _shareable_descriptors.NotShareable):
            raise
        raise plain from None
