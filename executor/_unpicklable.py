"""Which part of an object cannot be pickled: where a pickler fails, as a path that a reader can follow.

Only for objects whose pickling has just failed. They are pickled once more, by the same reducers, with a pickler
written in Python that keeps the chain of objects it is inside of. What the search gives is a note of the error
that is raised anyway: it raises nothing of its own, and gives up on what is too large.
"""

from __future__ import annotations

import functools
import io
import itertools
import pickle
import threading
import types
from collections import deque

from . import _current
from ._current import function_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

__all__ = ["add_note", "note_argument", "note_result"]

_MOST_OBJECTS = 50_000  # about a fifth of a second
_DEEPEST = 100  # objects inside each other
_LONGEST = 300  # characters of the reason, and of a key
_HIDDEN = 7  # objects that a pickler makes up between two that the reader knows
_ATOMS = frozenset((int, float, complex, bool, str, bytes, bytearray, type(None), type(...)))
_KEYS = frozenset((int, float, bool, str, bytes, type(None)))


def note_argument(error: BaseException, call: Call, *, item: int | None = None) -> None:
    """Note at the error which argument of the call cannot be pickled, and what in it. Never raises on its account.

    ``item``: which one of a map the call is, counted from 0.
    """
    fn, args, kwargs = call
    name = function_name(fn)

    def parts() -> Iterator[tuple[str, str, object]]:
        yield f"the function {name}()", name.rpartition(".")[2], fn
        names = _parameters(fn)
        for number, value in enumerate(args):
            known = names[number] if number < len(names) else None
            label = f" ({known!r})" if known else ""
            yield f"argument {number + 1}{label} of {name}()", known or f"args[{number}]", value
        for key, value in kwargs.items():
            yield f"argument {key!r} of {name}()", key, value

    _note(error, parts(), "" if item is None else f"item {item} of the map: ")


def note_result(error: BaseException, fn: Callable[..., Any], value: object) -> None:
    """The same for what a task returned."""
    _note(error, iter([(f"the result of {function_name(fn)}()", "result", value)]))


def add_note(error: BaseException, text: str) -> None:
    """Add a note once; an exception that takes none goes without."""
    try:
        notes = error.__dict__.get("__notes__")
        if not isinstance(notes, list) or text not in notes:
            BaseException.add_note(error, text)
    except Exception:
        pass


def _note(error: BaseException, parts: Iterator[tuple[str, str, object]], before: str = "") -> None:
    if isinstance(error, RecursionError):
        return  # its depth is the reason, and a path as long tells nothing
    try:
        text = _first_failure(parts)
    except BaseException as failure:
        if _is_ctrl_c(failure):
            raise
        return
    if text is not None:
        add_note(error, before + text)


def _first_failure(parts: Iterator[tuple[str, str, object]]) -> str | None:
    from ._shareable_descriptors import close_all, collecting

    with collecting() as fds:
        try:
            tracer = _Tracer()
            for label, root, value in parts:
                try:
                    tracer.save(value)
                except _TooLarge:
                    return None
                except BaseException as reason:
                    if _is_ctrl_c(reason):
                        raise
                    path = _path(root, tracer.chain)
                    where = f"{label}: {path}" if path != root else label
                    return f"{where}: {_words(reason)}"
        finally:
            close_all(fds)
    return None


def _is_ctrl_c(error: BaseException) -> bool:
    """Whether it is the user's, not the object's: workers are not interrupted."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    return isinstance(error, KeyboardInterrupt) and in_main_thread and _current._worker is None


def _words(reason: BaseException) -> str:
    lines = str(reason).strip().splitlines() or [type(reason).__name__]
    text = lines[0] if len(lines[0]) <= _LONGEST else lines[0][:_LONGEST] + "..."
    plain = isinstance(reason, (pickle.PicklingError, TypeError, AttributeError))
    return text if plain else f"{type(reason).__name__}: {text}"


def _parameters(fn: object) -> tuple[str, ...]:
    """The names of the positional parameters, as far as that can be told without running anything."""
    skip = 0
    if type(fn) is types.MethodType:
        fn, skip = fn.__func__, 1
    elif isinstance(fn, type):
        fn, skip = _static(fn, "__init__"), 1
    if type(fn) is not types.FunctionType:
        return ()
    return fn.__code__.co_varnames[skip : fn.__code__.co_argcount]


def _static(kind: type, name: str) -> Any:
    """A class's attribute, without descriptors."""
    for base in type.__dict__["__mro__"].__get__(kind):
        found = type.__dict__["__dict__"].__get__(base)
        if name in found:
            return found[name]
    return None


# --- pickling with a trace --------------------------------------------------------------------------------------


class _TooLarge(Exception):
    pass


class _Nowhere(io.RawIOBase):
    def write(self, data: object) -> int:
        return 0


class _Tracer(pickle._Pickler):  # the one that is written in Python
    """Pickles to nowhere. After a failure ``chain`` is what it was inside of, from the outermost object on."""

    def __init__(self) -> None:
        from . import _pickler

        super().__init__(_Nowhere(), 5, buffer_callback=lambda buffer: None)
        self.chain: list[object] = []
        self._left = _MOST_OBJECTS
        self._real = _pickler.Pickler(io.BytesIO(), None)
        self.dispatch_table = self._real.dispatch_table

    def reducer_override(self, obj: object) -> Any:
        return self._real.reducer_override(obj)

    def save(self, obj: object, save_persistent_id: bool = True) -> None:
        if type(obj) in _ATOMS:
            return
        self._left -= 1
        if self._left < 0 or len(self.chain) >= _DEEPEST:
            raise _TooLarge
        self.chain.append(obj)
        super().save(obj, save_persistent_id)  # type: ignore[misc]  # not in typeshed
        self.chain.pop()


# --- from the chain to a path -----------------------------------------------------------------------------------


def _path(root: str, chain: list[object]) -> str:
    """As an expression. Objects that only pickling makes (states, tuples of arguments) are passed over."""
    path = root
    at = 0
    while at < len(chain) - 1:
        for later in range(at + 1, min(at + 1 + _HIDDEN, len(chain))):
            step = _step(chain[at], chain[later])
            if step is not None:
                path += step
                at = later
                break
        else:
            path += ".__reduce_ex__()" if not path.endswith(".__reduce_ex__()") else ""
            at += 1
    return path


def _step(outer: object, inner: object) -> str | None:
    """How the inner object is reached from the outer one, None if it is no part of it."""
    for step, value in _parts_of(outer):
        if value is inner:
            return step
    return None


def _parts_of(obj: object) -> Iterator[tuple[str, object]]:
    """What an object holds, each with how it is written. Runs no code of the object's class."""
    if isinstance(obj, dict):
        for key, value in dict.items(obj):
            yield f"[{_key(key)}]", value
            yield f"[key {_key(key)}]", key
    elif isinstance(obj, (list, tuple, deque)):
        kind: Any = next(base for base in (list, tuple, deque) if isinstance(obj, base))
        for number, value in enumerate(kind.__iter__(obj)):
            yield f"[{number}]", value
    elif isinstance(obj, (set, frozenset)):
        base: Any = set if isinstance(obj, set) else frozenset
        for value in base.__iter__(obj):
            yield "[an element]", value
    elif type(obj) is types.FunctionType:
        yield from _parts_of_function(obj)
        return
    elif type(obj) is types.MethodType:
        yield ".__self__", obj.__self__
        yield ".__func__", obj.__func__
        return
    elif type(obj) is functools.partial:
        yield ".func", obj.func
        yield ".args", obj.args
        yield from ((f".args[{number}]", value) for number, value in enumerate(obj.args))
        yield from ((f".keywords[{key!r}]", value) for key, value in obj.keywords.items())
    elif isinstance(obj, BaseException):
        yield from ((f".args[{number}]", value) for number, value in enumerate(BaseException.args.__get__(obj)))  # type: ignore[attr-defined]
    yield from _attributes(obj)


def _parts_of_function(fn: types.FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
        try:
            yield f" (its variable {name!r})", cell.cell_contents
        except ValueError:  # not set
            pass
    for name in _global_names(fn.__code__):
        if name in fn.__globals__:
            yield f" (its global variable {name!r})", fn.__globals__[name]
    for number, value in enumerate(fn.__defaults__ or ()):
        yield f".__defaults__[{number}]", value
    for name, value in (fn.__kwdefaults__ or {}).items():
        yield f".__kwdefaults__[{name!r}]", value
    yield from ((f".{name}", value) for name, value in fn.__dict__.items())


def _global_names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for const in code.co_consts:
        if type(const) is types.CodeType:
            yield from _global_names(const)


def _attributes(obj: object) -> Iterator[tuple[str, object]]:
    kind = type(obj)
    if isinstance(obj, type):
        held: Any = type.__dict__["__dict__"].__get__(obj)
    else:
        getter = _static(kind, "__dict__")
        held = getter.__get__(obj) if type(getter) is types.GetSetDescriptorType else None
    if held is not None:
        yield from ((f".{name}", value) for name, value in tuple(held.items()))
    for base in type.__dict__["__mro__"].__get__(kind):
        for name, descriptor in type.__dict__["__dict__"].__get__(base).items():
            if type(descriptor) is types.MemberDescriptorType:
                try:
                    yield f".{name}", descriptor.__get__(obj)
                except AttributeError:  # not set
                    pass


def _key(key: object) -> str:
    if type(key) in _KEYS:
        text = repr(key)
        return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
    if type(key) is tuple and all(type(part) in _KEYS for part in itertools.islice(key, 10)):
        return repr(key) if len(key) <= 10 else "a tuple"
    return f"a {type(key).__name__}"
