"""Imported by the fork server before it forks: what every worker needs, the program's main module included.

A main module that cannot be imported does not end the server: the worker that imports it again says why.
"""

from __future__ import annotations

import gc
import io
import os
import pickle
import runpy
import sys
import types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

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
        data = pickle.loads(bytes.fromhex(main))
        path = data.get("init_main_from_path", "")
        if path.endswith(".py") and os.path.isfile(path):
            _import_script(path)
        else:
            spawn.prepare(data)
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


def _import_script(path: str) -> None:
    """As `multiprocessing.spawn` does it, but for its way to the code: that imports pkgutil, and this typing, which is
    a fifteenth of a cold start.
    """
    from multiprocessing import spawn

    with io.open_code(path) as file:
        code = compile(file.read(), path, "exec", dont_inherit=True)
    spawn.old_main_modules.append(sys.modules["__main__"])
    module = types.ModuleType("__mp_main__")
    run: Any = runpy._run_module_code  # type: ignore[attr-defined]  # not in typeshed
    module.__dict__.update(run(code, None, "__mp_main__", pkg_name="", script_name=path))
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module


_load()
