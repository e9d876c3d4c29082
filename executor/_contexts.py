"""Context variables of the submitting context, set for one call in a worker.

A ContextVar does not pickle. It travels by the name that a module has for it: in the parent, the modules that are
loaded are looked through for one whose attribute it is; the worker imports that module. A variable of a main module
that workers do not import (a REPL, ``python -c``, the start method "loky") is made anew there, under its name.
"""

from __future__ import annotations

import contextvars
import os
import pickle
import sys
import threading
from contextvars import ContextVar
from importlib import import_module
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal

    Variable = ContextVar[Any]
    Name = tuple[str, str]  # of the module, of its attribute

__all__ = ["InContext", "check_context", "in_context", "reduce_variable"]

_MAIN = ("__main__", "__mp_main__")
_lock = threading.Lock()
_names: dict[Variable, Name] = {}  # guarded by _lock, as the next
_looked_through = -1  # how many modules there were then
_NONE = object()  # no default


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)


def check_context(context: Any) -> tuple[Variable, ...] | Literal["all"] | None:
    """The option as it is kept. Raises ValueError for a variable that workers could not find."""
    if context is None or context == "all":
        return context  # type: ignore[no-any-return]  # it is one of the two
    if isinstance(context, (str, ContextVar)):
        raise TypeError('context must be "all" or an iterable of ContextVar objects')
    variables = tuple(context)
    for variable in variables:
        if not isinstance(variable, ContextVar):
            raise TypeError(f'context must be "all" or an iterable of ContextVar objects, not of {variable!r}')
        _name_or_refuse(variable)
    return variables


def in_context(
    fn: Callable[..., Any], context: tuple[Variable, ...] | Literal["all"], main_by_value: bool
) -> Callable[..., Any]:
    """``fn``, to be called with what those variables are now."""
    if type(fn) is InContext:  # it has its context already
        return fn
    now = contextvars.copy_context()
    if context == "all":
        named = [(_name_of(variable), variable) for variable in now]
        wanted = [(name, variable) for name, variable in named if name is not None]
    else:
        wanted = [(_name_or_refuse(variable), variable) for variable in context if variable in now]
    return InContext(fn, [(name, variable, now[variable]) for name, variable in wanted], main_by_value)


class InContext:
    """A function that is called with certain values of context variables. What it sets itself is gone afterwards."""

    __slots__ = ("_main_by_value", "_values", "func")

    def __init__(
        self, func: Callable[..., Any], values: list[tuple[Name, Variable, Any]], main_by_value: bool = False
    ) -> None:
        self.func = func  # as functools.partial: what looks for the name of a function looks there
        self._values = values
        self._main_by_value = main_by_value

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return contextvars.copy_context().run(self._call, args, kwargs)

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for _, variable, value in self._values:
            variable.set(value)
        return self.func(*args, **kwargs)

    def __reduce__(self) -> Any:
        values = []
        for (module, attribute), variable, value in self._values:
            data = _pickled(value, self._main_by_value)
            if data is not None:
                default = _pickled(_default(variable), self._main_by_value) if module == "__main__" else None
                values.append((module, attribute, variable.name, default, data))
        return _load, (self.func, values)


def _load(func: Callable[..., Any], values: list[Any]) -> InContext:
    """In the worker."""
    found = []
    for module, attribute, name, default, data in values:
        try:
            value = pickle.loads(data)
        except Exception:  # as if it had not pickled
            continue
        found.append(((module, attribute), _find(module, attribute, name, *_defaults(default)), value))
    return InContext(func, found)


def _pickled(value: object, main_by_value: bool) -> bytes | None:
    if value is _NONE:
        return None
    try:
        data = pickle.dumps(value, 5)
        if not (main_by_value and b"__main__" in data):
            return data
    except Exception:
        pass
    try:
        import cloudpickle

        slow: bytes = cloudpickle.dumps(value, 5)
        return slow
    except Exception:
        return None


# --- names ----------------------------------------------------------------------------------------------------


def reduce_variable(variable: Variable) -> Any:
    """For the pickler: a variable among the arguments, or among what a function refers to."""
    try:
        module, attribute = _name_or_refuse(variable)
    except ValueError as error:
        from ._shareable_descriptors import NotShareable

        raise NotShareable(str(error)) from None
    default = _default(variable) if module == "__main__" else _NONE
    return _find, (module, attribute, variable.name, *(() if default is _NONE else (default,)))


def _name_or_refuse(variable: Variable) -> Name:
    name = _name_of(variable, sure=True)
    if name is None:
        raise ValueError(
            f"the context variable {variable.name!r} cannot be found by workers: "
            "it is not an attribute of a module (make it a global of one)"
        )
    return name


def _name_of(variable: Variable, *, sure: bool = False) -> Name | None:
    """``sure``: also find what a module that was loaded before has been given since."""
    with _lock:
        name = _names.get(variable)
        if name is not None and getattr(sys.modules.get(name[0]), name[1], None) is variable:
            return name
        if sure or name is not None or _looked_through != len(sys.modules) or _is_in_main(variable):
            _look_through_modules()
        return _names.get(variable)


def _is_in_main(variable: Variable) -> bool:
    """The one module that changes all the time, where it is typed in."""
    return any(value is variable for value in list(vars(sys.modules["__main__"]).values()))


def _look_through_modules() -> None:
    global _looked_through
    _looked_through = len(sys.modules)
    _names.clear()
    modules: list[tuple[str, Any]] = list(sys.modules.items())
    # The main module last: what it has imported from another is the other's.
    for name, module in sorted(modules, key=lambda pair: pair[0] in _MAIN):
        if not isinstance(module, ModuleType):
            continue
        for attribute, value in list(object.__getattribute__(module, "__dict__").items()):  # loads no lazy module
            if type(value) is ContextVar and value not in _names:
                _names[value] = "__main__" if name in _MAIN else name, attribute


# --- in the worker --------------------------------------------------------------------------------------------

_made: dict[Name, Variable] = {}


def _find(module: str, attribute: str, name: str, *default: Any) -> Variable:
    """The variable that a module has under that name."""
    found = getattr(sys.modules["__main__"] if module == "__main__" else import_module(module), attribute, None)
    if isinstance(found, ContextVar):
        return found
    if module != "__main__":
        raise LookupError(f"the context variable {name!r} is not there in this process: {module} has no {attribute}")
    made = ContextVar(name, default=default[0]) if default else ContextVar(name)
    return _made.setdefault((module, attribute), made)


def _default(variable: Variable) -> Any:
    try:
        return contextvars.Context().run(variable.get)
    except LookupError:
        return _NONE


def _defaults(data: bytes | None) -> tuple[Any, ...]:
    """None or one."""
    if data is None:
        return ()
    try:
        return (pickle.loads(data),)
    except Exception:
        return ()
