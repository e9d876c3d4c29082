"""Imported by the fork server before it forks: what every worker needs, the program's main module included.

A main module that cannot be imported does not end the server: the worker that imports it again says why.
"""

from __future__ import annotations

import gc
import os
import pickle
import sys

__all__ = ["VARIABLE"]

VARIABLE = "_EXECUTOR_MAIN"


def _load() -> None:
    main = os.environ.pop(VARIABLE, None)
    if main is None:
        return  # not in a fork server
    from multiprocessing import process, spawn

    from . import _share, _worker_main  # noqa: F401

    current = process.current_process()
    current._inheriting = True  # type: ignore[attr-defined]
    try:
        spawn.prepare(pickle.loads(bytes.fromhex(main)))
    except (Exception, SystemExit):
        pass
    finally:
        del current._inheriting  # type: ignore[attr-defined]
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()  # or each worker would write out what the main module has printed
        except (AttributeError, OSError, ValueError):  # there is none
            pass
    gc.freeze()  # a garbage collection in a worker would copy all that it looks at (`_start.heap_frozen`)


_load()
