"""From objects to bytes and back, for calls and results (`executor._exceptions` does errors)."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any

_PROTOCOL = 5  # what every supported Python reads


@dataclass(frozen=True, slots=True)
class Hole:
    """Stands in a call for the result of another call, which is filled in where the call runs."""

    index: int


def dump(value: Any) -> bytes:
    """Plain pickle; cloudpickle where that fails, and for what lives in __main__: the reader has another."""
    try:
        data = pickle.dumps(value, _PROTOCOL)
    except KeyboardInterrupt:
        raise
    except BaseException as plain:
        return _dump_by_value(value, plain)
    return _dump_by_value(value) if b"__main__" in data else data


def _dump_by_value(value: Any, plain: BaseException | None = None) -> bytes:
    import cloudpickle

    try:
        return bytes(cloudpickle.dumps(value, _PROTOCOL))
    except BaseException:
        # The plain pickler's error speaks of the caller's own object, not of cloudpickle's ways.
        if plain is None:
            raise
        raise plain from None


def load(data: bytes) -> Any:
    return pickle.loads(data)
