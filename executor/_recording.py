"""Begins and ends a trace of an engine."""

from __future__ import annotations

from ._trace import Tracer, log_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os

    from ._engine import Engine
    from ._session import Session

__all__ = ["start_trace", "stop_trace", "tracing"]


def start_trace(engine: Engine, path: str | os.PathLike[str], session: Session | None) -> Tracer:
    """Raises OSError where the file cannot be written, RuntimeError where a trace is being recorded already."""
    import psutil  # noqa: F401  # now: a worker that is forked while another thread imports it could never import it

    with engine.lock:
        if engine.tracer is not None:
            raise RuntimeError(f"a trace of these workers is being recorded already, to {engine.tracer._file.path}")
        tracer = Tracer(engine, path, session)
        tracer.note_queued()
        engine.tracer = tracer
    if engine._started:
        tracer.mind_memory()
    return tracer


def stop_trace(engine: Engine, tracer: Tracer) -> None:
    """Write the rest of it. What cannot be written is logged: tasks are not to suffer."""
    with engine.lock:
        if engine.tracer is not tracer:
            return
        engine.tracer = None
    try:
        tracer.finish()
    except OSError as error:
        log_failure(error, tracer._file.path)


class tracing:  # noqa: N801  # used as a function
    """``with tracing(engine, path):`` records what happens in the block."""

    def __init__(self, engine: Engine, path: str | os.PathLike[str]) -> None:
        self._engine = engine
        self._tracer = start_trace(engine, path, None)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: object) -> None:
        stop_trace(self._engine, self._tracer)
