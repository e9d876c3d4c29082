"""The package's own logger, `executor`."""

from __future__ import annotations

import logging
import sys
import traceback

__all__ = ["log", "log_to_stderr", "tell"]

log = logging.getLogger("executor")
_handler: logging.Handler | None = None


def log_to_stderr(level: int | str | None = None) -> logging.Logger:
    """Have the package's own logger, ``executor``, write to standard error; the logger. As in multiprocessing.

    ``level``: also set its level: at DEBUG it tells each start, retirement and end of a worker, with the reason. Its
    records go to no other handlers from then on but those that are on the logger itself. May be called again, from
    any thread.
    """
    global _handler
    if _handler is None:
        _handler = logging.StreamHandler()
        _handler.setFormatter(logging.Formatter("%(asctime)s [%(levelname)s/%(processName)s] %(name)s: %(message)s"))
    log.addHandler(_handler)  # one that is there already is not added twice
    log.propagate = False
    if level is not None:
        log.setLevel(level)
    return log


def tell(text: str, *args: object) -> None:
    """Log at DEBUG, without the manager's lock: handlers are the user's code. One that raises must not end the loop."""
    try:
        log.debug(text, *args)
    except Exception:
        if logging.raiseExceptions and sys.stderr is not None:
            traceback.print_exc()
