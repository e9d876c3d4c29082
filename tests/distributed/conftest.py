"""Clusters for the tests beyond one machine.  They run on this one, and listen on its loopback only."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from distributed import Client

from executor.distributed import DaskExecutor
from tests import leaks
from tests.distributed.cluster import Cluster, cluster, pids_of_clusters
from tests.support import HANG, eventually


@pytest.fixture(autouse=True)
def nothing_left_behind(pair_client: Client, single_client: Client) -> Iterator[None]:
    """As for all tests, but for what the clusters and clients that serve many tests change meanwhile.

    A nanny starts new workers, and has semaphores for each in /dev/shm; a client keeps connections for later.
    `test_nothing_is_left_behind` looks at an executor with a client of its own.
    """
    before = leaks.Snapshot.take()
    yield
    if not _left_since(before):
        return
    gc.collect()
    try:
        eventually(lambda: not _left_since(before), leaks.PATIENCE)
    except AssertionError:
        pytest.fail(f"left behind:\n{_left_since(before)}", pytrace=False)


def _left_since(before: leaks.Snapshot) -> leaks.Snapshot:
    leak = leaks.Snapshot.take().since(before)
    clusters = pids_of_clusters() if leak.processes else set()
    return leaks.Snapshot(
        processes={key: text for key, text in leak.processes.items() if key[0] not in clusters},
        # Dask keeps one thread for large messages, once it has met one.
        threads={key: text for key, text in leak.threads.items() if "Dask-Offload" not in text},
        descriptors={key: text for key, text in leak.descriptors.items() if not text.startswith("socket:")},
        shared_memory={},
    )


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two workers of one thread each, restarted by their nannies."""
    with cluster(2, tmp_path_factory.mktemp("pair")) as started:
        yield started


@pytest.fixture(scope="session")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One such worker, and a scheduler that by itself gives a call up when one worker was lost with it."""
    allowed = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    with cluster(1, tmp_path_factory.mktemp("single"), environment=allowed) as started:
        yield started


def _client(of: Cluster, workers: int) -> Iterator[Client]:
    with Client(of.address, set_as_default=False) as client:
        client.wait_for_workers(workers, timeout=HANG)
        yield client


@pytest.fixture(scope="session")
def pair_client(pair: Cluster) -> Iterator[Client]:
    yield from _client(pair, 2)


@pytest.fixture(scope="session")
def single_client(single: Cluster) -> Iterator[Client]:
    yield from _client(single, 1)


Make = Callable[..., DaskExecutor]


@pytest.fixture
def dask_executor(request: pytest.FixtureRequest) -> Iterator[Make]:
    """``dask_executor(workers, **defaults)``: an executor on a cluster of one or two workers, all alive.

    One that a test has not shut down is shut down after it, unless the test said ``hold=False``.
    """
    made: list[DaskExecutor] = []

    def make(workers: int | None = 2, hold: bool = True, **defaults: Any) -> DaskExecutor:
        name = "single" if workers == 1 else "pair"
        client = request.getfixturevalue(f"{name}_client")
        client.wait_for_workers(1 if workers == 1 else 2, timeout=HANG)
        executor = DaskExecutor(client, **defaults)
        if hold:
            made.append(executor)
        return executor

    yield make
    while made:
        made.pop().shutdown(wait=True, cancel_futures=True)
