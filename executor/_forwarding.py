"""In a worker: what it warns and logs goes to the parent, and the parent's filters and levels hold here.

Warnings from the start; logging (`_log_forwarding`) once something imports it: it takes longer to import than all that
a worker needs otherwise, and many tasks never do.
"""

from __future__ import annotations

import pickle
import re
import sys
import warnings
from functools import reduce

from . import _current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from types import FrameType, ModuleType
    from typing import Any

__all__ = ["apply", "install", "leave", "preload"]

_send: Callable[[bytes], None] | None = None  # None: this process forwards nothing
_always = False  # also records that a handler of the worker's own takes
_for_logging: tuple[int, dict[str, tuple[int, bool]]] = 0, {}  # what holds in the parent: logging.disable(), levels
_filters: list[Any] = []  # what was last set here, by the parent's word; never empty after that
_default_showwarning = warnings._showwarning_orig  # type: ignore[attr-defined]  # whatever the program has put there


def install(send: Callable[[bytes], None], state: bytes, *, always: bool) -> None:
    """Forward from now on. ``send`` takes a message for the parent, from any thread."""
    global _send, _always, _filters
    _send, _always = send, always
    _filters = []  # those of another worker, where this one is its fork
    warnings.showwarning = _show_warning
    if "logging" in sys.modules:
        from . import _log_forwarding

        _log_forwarding.install(send, always=always)
    elif _at_import_of_logging not in sys.meta_path:
        sys.meta_path.insert(0, _at_import_of_logging)
    apply(state)


def preload() -> None:
    """In the parent: import what each fork of this process would have to import for itself."""
    if "logging" in sys.modules:
        from . import _log_forwarding  # noqa: F401


def apply(state: bytes) -> None:
    """Set the levels and filters of the parent here, but for what code in the worker has set since."""
    global _for_logging
    disable, levels, filters = pickle.loads(state)
    _for_logging = disable, levels
    _apply_filters(filters)
    if "logging" in sys.modules:
        from . import _log_forwarding

        _log_forwarding.apply(disable, levels)


def leave() -> None:
    """In a child that a task has forked: it is no worker."""
    global _send
    _send = None
    if "logging" in sys.modules:
        from . import _log_forwarding

        _log_forwarding.leave()


# --- logging --------------------------------------------------------------------------------------------------


def _begin_with_logging() -> None:
    from . import _log_forwarding

    if _send is not None:
        _log_forwarding.install(_send, always=_always)
        _log_forwarding.apply(*_for_logging)


class _AtImport:
    """First on ``sys.meta_path`` until that module is imported; ``then`` is called before anybody can use it."""

    def __init__(self, name: str, then: Callable[[], None]) -> None:
        self._name = name
        self._then = then
        self._loader: Any = None

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != self._name:
            return None
        from importlib.util import find_spec

        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is not None:
            self._loader, spec.loader = spec.loader, self  # type: ignore[assignment]
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__loader__ = module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _current.undisturbed(self._then)


_at_import_of_logging: Any = _AtImport("logging", _begin_with_logging)


# --- warnings -------------------------------------------------------------------------------------------------


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    """In place of warnings.showwarning."""
    if _send is None or file is not None:
        _default_showwarning(message, category, filename, lineno, file, line)
    else:
        from ._log_records import dump_warning

        _send(dump_warning(message, category, filename, lineno, _module_at(filename, lineno)))


def _module_at(filename: str, lineno: int) -> str | None:
    """The name of the module that warned, None if it is not in the calling stack."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_lineno == lineno and frame.f_code.co_filename == filename:
            name = frame.f_globals.get("__name__")
            return "__main__" if name == "__mp_main__" else name
        frame = frame.f_back
    return None


def _apply_filters(filters: list[bytes]) -> None:
    global _filters
    if _filters and list(warnings.filters) != _filters:
        return
    warnings.resetwarnings()
    for data in reversed(filters):
        try:
            action, message, where, module, lineno = pickle.loads(data)
            category = _category(*where)
        except Exception:  # a category that is not there: nothing can be warned of it
            continue
        # Nobody is there to catch what the parent makes an error of: it is told as a warning.
        action = "default" if action == "error" else action
        _insert(action, message, category, module, lineno)
        if module == "__main__" or (isinstance(module, re.Pattern) and module.match("__main__")):
            _insert(action, message, category, "__mp_main__", lineno)
    _filters = list(warnings.filters)


def _category(module: str, name: str) -> Any:
    """The category, or what stands for it until somebody imports its module: a filter alone is no reason to."""
    if module in sys.modules:
        return _find(module, name)
    return _NotImported(name, (), {"__module__": module, "__qualname__": name})


def _find(module: str, name: str) -> Any:
    return reduce(getattr, name.split("."), sys.modules[module])


class _NotImported(type):
    """No warning can be of such a category before its module is imported."""

    def __subclasscheck__(cls, category: type) -> bool:
        try:
            return issubclass(category, _find(cls.__module__, cls.__qualname__))
        except (KeyError, AttributeError, TypeError):  # the module is not there, or has just begun to be imported
            return False


def _insert(*entry: Any) -> None:
    warnings.filters.insert(0, entry)  # type: ignore[attr-defined]
