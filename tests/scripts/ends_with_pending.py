"""Leave ten tasks pending and end in the way that is named; each task writes a line of its own."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from pathlib import Path

from executor import ProcessPoolExecutor
from tests.support import Gate, new_gate


def note(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{text}\n".encode())
    os.close(descriptor)


def task(gate: Gate, path: str) -> None:
    gate.wait_open()
    note(path, "task")


def main(method: str, way: str, path: str) -> None:
    # Not a TemporaryDirectory: it must be there until the tasks end.
    gate = new_gate(Path(tempfile.mkdtemp(dir=Path(path).parent)))
    if way == "in a thread":
        thread = threading.Thread(target=submit, args=(method, gate, path))
        thread.start()
        thread.join()
    elif way == "no reference":
        submit(method, gate, path)
    else:
        globals()["kept"] = submit(method, gate, path)
        if way == "shutdown":
            globals()["kept"].shutdown(wait=False)
    note(path, "main")
    gate.open()
    if way == "sys.exit":
        sys.exit(5)
    if way == "exception":
        raise ValueError("the program's own")


def submit(method: str, gate: Gate, path: str) -> ProcessPoolExecutor:
    pool = ProcessPoolExecutor(2, mp_context=method)
    for _ in range(10):
        pool.submit(task, gate, path)
    return pool


if __name__ == "__main__":
    main(*sys.argv[1:])
