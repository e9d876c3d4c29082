"""The face of ProcessPoolExecutor on Dask distributed, an engine that already exists.

    DaskExecutor     _executor   the contract: submit, map, options, shutdown
      Book           _book       the calls that are open, and what becomes of each
        Link         _link       the one user of Dask's client
    DaskFuture       _future     what a caller holds
    Ledger           _ledger     runs in Dask's scheduler: which calls have begun
    run              _remote     runs in Dask's workers: one call, from bytes to bytes
    refusals         _refusals   what this engine cannot promise, and what to do instead

Nothing here schedules anything: Dask decides what runs where.  Install the extra ``dask`` for it, on this
machine, with the scheduler and with the workers.
"""

from __future__ import annotations

try:
    import distributed as _distributed  # noqa: F401  # for a clear sentence when it is missing
except ImportError as error:
    raise ImportError(
        "executor.distributed needs Dask distributed: pip install 'executor-pool[dask]'", name="distributed"
    ) from error

from ._executor import DaskExecutor
from ._refusals import NotSupportedByEngine

__all__ = ["DaskExecutor", "NotSupportedByEngine"]
