"""A script, not a module: seconds from its first line to the first result of one pool, printed.

``python benchmarks/first_result.py PACKAGE METHOD``. Nothing but ``time`` is imported before the clock runs,
and the task is ``os.getpid``, so that a worker has no module to load for it.
"""

from time import perf_counter

START = perf_counter()

import os  # noqa: E402 - the clock comes first
import sys  # noqa: E402


def by_futures(method: str) -> object:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    pool = ProcessPoolExecutor(2, multiprocessing.get_context(method))
    pool.submit(os.getpid).result()
    return pool.shutdown


def by_executor(method: str) -> object:
    from executor import ProcessPoolExecutor

    pool = ProcessPoolExecutor(2, None if method == "default" else method)
    pool.submit(os.getpid).result()
    return pool.shutdown


def by_multiprocessing(method: str) -> object:
    import multiprocessing

    pool = multiprocessing.get_context(method).Pool(2)
    pool.apply(os.getpid)
    return pool.terminate


def by_loky(method: str) -> object:
    import loky

    pool = loky.ProcessPoolExecutor(2)
    pool.submit(os.getpid).result()
    return pool.shutdown


def by_pebble(method: str) -> object:
    import multiprocessing

    import pebble

    pool = pebble.ProcessPool(2, context=multiprocessing.get_context(method))
    pool.schedule(os.getpid).result()
    return pool.stop


def by_deadpool(method: str) -> object:
    import deadpool

    pool = deadpool.Deadpool(2, mp_context=method)
    pool.submit(os.getpid).result()
    return pool.shutdown


def by_mpire(method: str) -> object:
    import mpire

    pool = mpire.WorkerPool(2, start_method=method)
    pool.apply(os.getpid)
    return pool.terminate


def by_joblib(method: str) -> object:
    import joblib

    joblib.Parallel(n_jobs=2)([joblib.delayed(os.getpid)()])
    return joblib.externals.loky.get_reusable_executor().shutdown


if __name__ == "__main__":
    package, method = sys.argv[1:]
    close = globals()[f"by_{package}"](method)
    print(perf_counter() - START, flush=True)
    close()
