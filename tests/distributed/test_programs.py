"""Programs of their own: functions of __main__, the end, Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from distributed import Client

from tests.distributed.cluster import Cluster
from tests.support import Gate, Program, eventually, new_gate, program

PROGRAM = str(Path(__file__).with_name("program.py"))


@contextmanager
def run(cluster: Cluster, scenario: str, directory: Path) -> Iterator[Program]:
    with program(PROGRAM, cluster.address, scenario, str(directory), directory=directory.parent) as running:
        yield running


def test_functions_and_classes_of_main(pair: Cluster, gate: Gate) -> None:
    with run(pair, "uses_its_own_functions", Path(gate.directory)) as running:
        assert (running.wait(), running.out, running.err) == (0, "285\nTrue\n", "")


def test_without_an_address_dask_starts_a_cluster_here(pair: Cluster, gate: Gate) -> None:
    with run(pair, "uses_a_cluster_of_its_own", Path(gate.directory)) as running:
        assert (running.wait(), running.out, running.err) == (0, "285\n", "")
        running.wait_family_gone()


@pytest.mark.parametrize("scenario", ["falls_off_the_end", "drops_the_executor"])
def test_pending_work_and_callbacks_are_finished(pair: Cluster, gate: Gate, scenario: str) -> None:
    directory = Path(gate.directory)
    with run(pair, scenario, directory) as running:
        assert (running.wait(), running.out, running.err) == (0, "called back\n" * 5, "")
    assert sorted((directory / "notes").read_text().split()) == list("01234")


@pytest.mark.parametrize("scenario", ["is_interrupted", "is_interrupted_without_with"])
def test_one_ctrl_c_ends_it(single: Cluster, single_client: Client, tmp_path: Path, scenario: str) -> None:
    """The task that runs cannot be stopped, but nobody waits for it; what had not begun never does."""
    gate = new_gate(tmp_path)
    with run(single, scenario, Path(gate.directory)) as running:
        running.wait_line("running")
        gate.wait_arrivals()
        running.signal(signal.SIGINT)
        assert running.wait() != 0
        assert running.err.count("Traceback") == 1
        assert running.err.endswith("KeyboardInterrupt\n")
    gate.open()
    eventually(lambda: not any(single_client.processing().values()))
    assert not Path(gate.directory, "notes").exists()
