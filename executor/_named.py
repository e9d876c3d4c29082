"""Functions that are found by their names: pickled once, and looked up once in each worker.

Pickling a function by its name and finding it again costs as much as all the rest of a small call. What is remembered
is checked each time, on both sides, as pickle checks it: that the module still has this function under its name.
"""

from __future__ import annotations

import pickle
import sys
from types import FunctionType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["load_named", "pickle_named"]

_MOST = 500  # functions that are remembered
_pickles: dict[FunctionType, bytes] = {}
_loaded: dict[bytes, FunctionType] = {}


def pickle_named(fn: FunctionType) -> bytes | None:
    """The pickle of a function of a module's top level; None of any other."""
    if fn.__globals__.get(fn.__name__) is not fn:
        return None
    data = _pickles.get(fn)
    return data if data is not None else _pickle(fn)


def _pickle(fn: FunctionType) -> bytes | None:
    module = sys.modules.get(fn.__module__)
    if fn.__qualname__ != fn.__name__ or getattr(module, "__dict__", None) is not fn.__globals__:
        return None
    data = pickle.dumps(fn, 5)
    if b"multiprocessing" in data:  # `_pickling` has a closer look at what comes from there
        return None
    if len(_pickles) >= _MOST:
        _pickles.clear()
    _pickles[fn] = data
    return data


def load_named(data: bytes) -> Any:
    """The function; raises whatever loading raises."""
    fn = _loaded.get(data)
    if fn is not None and fn.__globals__.get(fn.__name__) is fn:
        return fn
    loaded = pickle.loads(data)
    if type(loaded) is FunctionType:
        if len(_loaded) >= _MOST:
            _loaded.clear()
        _loaded[data] = loaded
    return loaded
