"""The globals of functions that the main program defines and that are sent by value.

A function that workers cannot import is sent whole, with the global variables that it uses. By itself each would have
its own copy of them: what an initializer sets would be lost, and so would what a task leaves for the next. So in a
worker all functions of one namespace of the program share one dictionary, a *space*:

    what the program has changed     is set again; also functions and classes, each time
    what it has not changed          stays as the worker has it

Whether the program has changed a variable is told by its version, which is made where the function is pickled: a hash
of the variable's pickle, in which functions and classes have numbers, since they may be defined anew under old names.

Where the workers do import the main module, only lambdas and local functions are sent whole. They have copies, but see
what the initializer has set in the imported module.
"""

from __future__ import annotations

import io
import itertools
import pickle
import sys
import types
import weakref
from functools import partial
from operator import is_

from ._pickling import main_is_importable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Globals = dict[str, Any]

__all__ = ["Versions", "begin_worker", "bind", "prepare_fork", "run_initializer"]

_MAIN = 0  # the key of the main module's own namespace; others have their address
_MOST_SPACES = 64
_NAMES = ("__main__", "__mp_main__")
_KEEP = object()  # a version: of what the initializer has set, whatever the program has


# --- in the parent ----------------------------------------------------------------------------------------------

# Namespaces beside the main module's (of `exec`), kept so that no other has their address.
_sent: dict[int, Globals] = {}
_numbers: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()  # of functions and classes
_next_number = itertools.count()


class Versions:
    """The versions of global variables; each is made once for one pickle."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], Any] = {}

    def of(self, key: int, name: str, value: object) -> Any:
        place = key, name
        if place not in self._known:
            self._known[place] = _version(value)
        return self._known[place]


def _version(value: object) -> int | None:
    """None: it is to be set each time."""
    if isinstance(value, (types.FunctionType, type, types.ModuleType)):
        return None
    file = io.BytesIO()
    buffers: list[pickle.PickleBuffer] = []
    try:
        _Hashed(file, 5, buffer_callback=buffers.append).dump(value)
        return hash((file.getvalue(), *(bytes(buffer.raw()) for buffer in buffers)))
    except Exception:
        return None


class _Hashed(pickle.Pickler):
    def persistent_id(self, obj: Any) -> object:
        if isinstance(obj, types.FunctionType) or (isinstance(obj, type) and obj.__module__ in _NAMES):
            return _numbers.setdefault(obj, next(_next_number))
        return obj.__name__ if type(obj) is types.ModuleType else None


def prepare_fork(initializer: Callable[..., object] | None, by_value: bool) -> None:
    """Workers will be forked: they are to have the numbers of what the initializer uses. This pickles it: user code."""
    function = _function_of(initializer)
    if function is not None and (by_value or not _is_main(function.__globals__)):
        for name in _names_used(function):
            _version(function.__globals__.get(name))


def bind(function: types.FunctionType, reduced: tuple[Any, ...], by_value: bool, versions: Versions) -> tuple[Any, ...]:
    """What cloudpickle makes of a function, changed such that it gets its globals from the worker's space.

    ``by_value``: workers do not import the main module.
    """
    own = function.__globals__
    if own.get("__name__") != "__main__" or len(reduced) != 6:
        return reduced
    make, args, state, _, _, set_state = reduced
    is_main = _is_main(own)
    if is_main and not by_value:
        return make, args, (set_state, state), None, None, _set_state_of_copy
    key = _MAIN if is_main else id(own)
    if not is_main and key not in _sent:
        if len(_sent) >= _MOST_SPACES:
            return reduced
        _sent[key] = own
    attributes, slots = state
    held = slots["__globals__"]
    known = {name: versions.of(key, name, value) for name, value in held.items()}
    state = set_state, (attributes, slots | {"__globals__": {}}), key, held, known
    return make, (args[0], _Place(key), *args[2:]), state, None, None, _set_state


class _Place:
    """Stands in a pickle for the dictionary that it is loaded as."""

    def __init__(self, key: int) -> None:
        self._key = key

    def __reduce__(self) -> tuple[Any, ...]:
        return _globals_of, (self._key,)


# --- in the worker ----------------------------------------------------------------------------------------------


class _Space:
    __slots__ = ("globals", "known")

    def __init__(self, globals: Globals) -> None:
        self.globals = globals
        self.known: dict[str, Any] = {}  # the version of each variable when it came last


_spaces: dict[int, _Space] = {}
_set_by_initializer: set[str] = set()
_imported: Globals = {}  # the namespace that those are in, where the main module was imported
_forked = False


def begin_worker(forked: bool) -> None:
    """This process is a worker now. ``forked``: of the program itself, whose namespaces it has."""
    global _forked
    _forked = forked
    _spaces.clear()


def _space(key: int) -> _Space:
    space = _spaces.get(key)
    if space is None:
        own: Globals = {"__name__": "__main__"}
        if _forked:
            own = vars(sys.modules["__main__"]) if key == _MAIN else _sent.get(key, own)
        space = _spaces[key] = _Space(own)
    return space


def _globals_of(key: int) -> Globals:
    return _space(key).globals


def _set_state(function: types.FunctionType, state: tuple[Any, ...]) -> None:
    set_state, rest, key, held, versions = state
    set_state(function, rest)
    space = _space(key)
    for name, value in held.items():
        version = versions[name]
        known = space.known.get(name)
        if version is None or (known is not _KEEP and known != version) or name not in space.globals:
            space.globals[name] = value
        space.known[name] = version


def _set_state_of_copy(function: types.FunctionType, state: tuple[Any, ...]) -> None:
    set_state, rest = state
    set_state(function, rest)
    for name in _set_by_initializer:
        if name in _imported:
            function.__globals__[name] = _imported[name]


def run_initializer(initializer: Callable[..., object], args: tuple[Any, ...]) -> None:
    """Run it, and note which variables of the main program it sets."""
    function = _function_of(initializer)
    if function is None:
        initializer(*args)
        return
    own = function.__globals__
    names = set(_names_used(function))
    space = _take_space(own, names) if _forked and not (_is_main(own) and main_is_importable()) else None
    before = dict(own)
    contents = {name: _content(own[name]) for name in names if name in own}
    initializer(*args)
    changed = {name for name, value in own.items() if name not in before or before[name] is not value}
    changed.update(name for name in contents if name in own and not _same(contents[name], _content(own[name])))
    if space is not None:
        for name in changed:
            space.known.setdefault(name, _KEEP)
    _note_changes(own, changed)


def _take_space(own: Globals, names: set[str]) -> _Space:
    """The space that this namespace of the program is, in a worker that is a fork of it."""
    key = _MAIN if _is_main(own) else id(own)
    if key != _MAIN:
        _sent[key] = own
    space = _space(key)
    for name in names & own.keys():
        space.known[name] = _version(own[name])
    return space


def _note_changes(own: Globals, changed: set[str]) -> None:
    """What functions that only have copies are to see."""
    global _imported
    main = vars(sys.modules["__main__"])
    if own is not main:
        if main.get("__name__") != "__mp_main__" or any(space.globals is own for space in _spaces.values()):
            return
        values = {name: own[name] for name in changed}
        main.update(values)
        for value in tuple(main.values()):  # runpy leaves functions another dictionary than the module's
            if type(value) is types.FunctionType and value.__module__ == "__mp_main__":
                value.__globals__.update(values)  # the initializer may have been sent whole, and had a copy itself
                break
    _imported = main
    _set_by_initializer.update(changed)


def _is_main(own: Globals) -> bool:
    main = sys.modules.get("__main__")
    return main is not None and own is vars(main)


def _function_of(fn: Any) -> types.FunctionType | None:
    """The function of the main program that is behind it, if there is one."""
    while type(fn) in (partial, types.MethodType):
        fn = fn.func if type(fn) is partial else fn.__func__
    is_ours = type(fn) is types.FunctionType and fn.__globals__.get("__name__") in _NAMES
    return fn if is_ours else None


def _names_used(function: types.FunctionType) -> Iterator[str]:
    """The global variables that it uses, and those that functions of its namespace use which it calls."""
    seen: set[str] = set()
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        codes += [const for const in code.co_consts if type(const) is types.CodeType]
        for name in code.co_names:
            if name not in seen:
                seen.add(name)
                yield name
                value = function.__globals__.get(name)
                if type(value) is types.FunctionType and value.__globals__ is function.__globals__:
                    codes.append(value.__code__)


def _content(value: object) -> tuple[object, ...] | None:
    """What a container holds at this moment."""
    if type(value) is dict:
        return *value.keys(), *value.values()
    return tuple(value) if isinstance(value, (list, set)) else None


def _same(before: tuple[object, ...] | None, after: tuple[object, ...] | None) -> bool:
    if before is None or after is None:
        return before is after
    return len(before) == len(after) and all(map(is_, before, after))
