"""metrics(): read as Prometheus reads them."""

from __future__ import annotations

import operator
from typing import Any

import pytest

from executor import ProcessPoolExecutor, WorkerManager, wait
from tests import tasks
from tests.support import HANG, Gate

parser = pytest.importorskip("prometheus_client.openmetrics.parser")


def families(text: str) -> dict[str, Any]:
    """Each by its name; the parser raises ValueError for what is not OpenMetrics."""
    return {family.name: family for family in parser.text_string_to_metric_families(text)}


def samples(text: str) -> dict[tuple[str, str], float]:
    """The value of each sample by its name and its labels' values."""
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in families(text).values()
        for sample in family.samples
    }


def test_counters_and_gauges(start_method: str, gate: Gate) -> None:
    with ProcessPoolExecutor(2, mp_context=start_method) as pool:
        assert list(pool.map(operator.neg, range(10))) == [-i for i in range(10)]
        assert pool.submit(tasks.raise_value_error, "no").exception(HANG) is not None
        assert pool.options(retries=1).submit(tasks.exit_with, 3).exception(HANG) is not None
        running = [pool.submit(gate.stop) for _ in range(2)]
        gate.wait_arrivals(2)
        waiting = [pool.submit(tasks.nothing) for _ in range(3)]
        assert waiting[0].cancel()
        text = pool.metrics()
        gate.open()
        assert wait([*running, *waiting], HANG).not_done == set()
    found = samples(text)
    assert found["executor_tasks_finished_total", "done"] == 10
    assert found["executor_tasks_finished_total", "failed"] == 2
    assert found["executor_tasks_finished_total", "cancelled"] == 1
    assert found["executor_tasks_retried_total", ""] == 1
    assert found["executor_tasks_running", ""] == 2
    assert found["executor_tasks_pending", ""] == 2
    assert found["executor_workers", "busy"] == 2
    assert found["executor_workers_allowed", ""] == 2
    assert found["executor_workers_ended_total", "died"] == 2
    for slot in ("0", "1"):
        assert found["executor_worker_memory_bytes", slot] > 1_000_000
        assert found["executor_worker_task_seconds", slot] > 0
    kinds = {name: family.type for name, family in families(text).items()}
    assert kinds["executor_tasks_finished"] == "counter"
    assert kinds["executor_tasks_pending"] == "gauge"
    assert kinds["executor_task_duration_seconds"] == "histogram"
    assert families(text)["executor_worker_memory_bytes"].unit == "bytes"
    assert text.endswith("\n# EOF\n")


def test_the_histogram_counts_from_the_first_call_on() -> None:
    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(operator.neg, 1).result(HANG) == -1
        assert samples(pool.metrics())["executor_task_duration_seconds_count", ""] == 0
        assert list(pool.map(operator.neg, range(50))) == [-i for i in range(50)]
        assert pool.submit(tasks.pause, 0.02).result(HANG) == 0.02
        found = samples(pool.metrics())
    assert found["executor_task_duration_seconds_count", ""] == 51
    assert found["executor_task_duration_seconds_bucket", "+Inf"] == 51
    assert found["executor_task_duration_seconds_sum", ""] >= 0.02
    bounds = sorted(float(bound) for name, bound in found if name == "executor_task_duration_seconds_bucket")
    counts = [found["executor_task_duration_seconds_bucket", _canonical(bound)] for bound in bounds]
    assert counts == sorted(counts)
    # The pause is above every bound that is shorter, and below some that are longer.
    assert all(count <= 50 for bound, count in zip(bounds, counts, strict=True) if bound < 0.02)
    assert counts[-2] == 51


def _canonical(bound: float) -> str:
    return "+Inf" if bound == float("inf") else repr(bound)


def test_an_executor_without_workers_has_metrics_too() -> None:
    with ProcessPoolExecutor(1) as pool:
        found = samples(pool.metrics())
    assert found["executor_tasks_finished_total", "done"] == 0
    assert found["executor_workers", "idle"] == 0


def test_a_manager_sums_up_the_executors_that_borrow() -> None:
    with (
        WorkerManager(1) as manager,
        ProcessPoolExecutor(manager=manager) as first,
        ProcessPoolExecutor(manager=manager) as second,
    ):
        assert first.submit(operator.neg, 1).result(HANG) == -1
        assert second.submit(operator.neg, 2).result(HANG) == -2
        name = "executor_tasks_finished_total", "done"
        assert [samples(pool.metrics())[name] for pool in (first, second)] == [1, 1]
        assert samples(manager.metrics())[name] == 2
