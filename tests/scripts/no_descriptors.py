"""Start workers while no descriptor is left: the futures fail with that cause; later it works again."""

from __future__ import annotations

import errno
import operator
import os
import resource
import sys

from executor import ProcessPoolExecutor
from tests.support import chain, told


def outcome(pool: ProcessPoolExecutor) -> object:
    try:
        return pool.submit(operator.neg, 1).result(30)
    except Exception as error:
        return error


def main(method: str) -> None:
    # Whatever is made once and kept is made first.
    with ProcessPoolExecutor(1, mp_context=method) as pool:
        assert outcome(pool) == -1
    pool = ProcessPoolExecutor(1, mp_context=method)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1, hard))
    error = outcome(pool)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    assert isinstance(error, Exception), error
    assert any(isinstance(e, OSError) and e.errno == errno.EMFILE for e in chain(error)), told(error)
    sys.stdout.write("refused\n")
    assert outcome(pool) == -1
    pool.shutdown()
    sys.stdout.write("works again\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
