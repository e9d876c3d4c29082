"""A Dask scheduler and its workers, as processes of their own on this machine, started as a user would."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from tests.support import HANG, ROOT, eventually

_running: list[Cluster] = []


class Cluster:
    def __init__(
        self,
        workers: int,
        directory: Path,
        *arguments: str,
        nanny: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """``arguments`` and ``environment`` are for the scheduler and for the workers."""
        paths = filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])
        self._environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | dict(environment or {})
        self.directory = directory
        self._file = directory / "scheduler.json"
        self._processes: list[subprocess.Popen[bytes]] = []
        common = (*arguments, "--scheduler-file", str(self._file), "--no-dashboard")
        loopback = ("--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0")
        self._start("dask_scheduler", *loopback, *common)
        own = ("--nworkers", str(workers), "--nthreads", "1", "--local-directory", str(directory))
        self._start("dask_worker", *common, *own, *(() if nanny else ("--no-nanny",)))
        _running.append(self)

    def _start(self, program: str, *arguments: str) -> None:
        command = [sys.executable, "-m", f"distributed.cli.{program}", *arguments]
        with (self.directory / f"{program}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(
                    command,
                    cwd=self.directory,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            )

    @property
    def address(self) -> str:
        """The scheduler's, waiting for it."""

        def written() -> Any:
            assert all(process.poll() is None for process in self._processes), self.logs()
            with contextlib.suppress(OSError, ValueError):
                return json.loads(self._file.read_text())["address"]
            return None

        return str(eventually(written))

    def logs(self) -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text()}" for path in self.directory.glob("*.log"))

    def pids(self) -> set[int]:
        """Every process of it that lives now; a nanny starts new ones."""
        roots = [psutil.Process(process.pid) for process in self._processes if process.poll() is None]
        return {process.pid for root in roots for process in (root, *root.children(recursive=True))}

    def stop_scheduler(self) -> None:
        self._processes[0].kill()
        self._processes[0].wait()

    def stop(self) -> None:
        """In order, so that nannies clean up after themselves; whatever is left then is killed."""
        family = [psutil.Process(pid) for pid in self.pids()]
        for process in reversed(self._processes):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(HANG)
        _, left = psutil.wait_procs(family, timeout=HANG)
        for each in left:
            each.kill()
        psutil.wait_procs(left)
        for process in self._processes:
            process.wait()
        _running.remove(self)


@contextlib.contextmanager
def cluster(workers: int, directory: Path, *arguments: str, **how: Any) -> Iterator[Cluster]:
    started = Cluster(workers, directory, *arguments, **how)
    try:
        yield started
    finally:
        started.stop()


def pids_of_clusters() -> set[int]:
    return {pid for each in _running for pid in each.pids()}
