"""The leak check sees what a test can leave behind.  (Here it is cleaned up before it looks itself.)"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import uuid

import pytest

from tests import leaks
from tests.support import eventually, kill

ORPHAN = """
import os, sys
pid = os.fork()
if pid == 0:
    os.close(1)
    sys.stdin.read()
else:
    os.write(1, str(pid).encode())
"""


def seen(before: leaks.Snapshot) -> str:
    return str(leaks.Snapshot.take().since(before))


def test_nothing() -> None:
    before = leaks.Snapshot.take()
    assert not leaks.Snapshot.take().since(before)
    assert not leaks.leaked_since(before)


def test_a_child_and_then_its_zombie() -> None:
    before = leaks.Snapshot.take()
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    assert f"process {child.pid}: " in seen(before)
    assert child.stdin is not None
    child.stdin.close()
    assert eventually(lambda: f"process {child.pid}: state Z" in seen(before))
    child.wait()
    assert f"process {child.pid}" not in seen(before)


def test_an_orphan_that_was_started() -> None:
    before = leaks.Snapshot.take()
    reading, writing = os.pipe()
    command = [sys.executable, "-c", ORPHAN]
    parent = subprocess.run(command, stdin=reading, stdout=subprocess.PIPE, check=True)
    orphan = int(parent.stdout)
    assert f"process {orphan}: " in seen(before)
    os.close(writing)
    os.close(reading)
    assert eventually(lambda: f"process {orphan}" not in seen(before))


def test_an_orphan_that_was_forked() -> None:
    before = leaks.Snapshot.take()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        orphan = os.fork()
        if orphan == 0:
            os.close(writing)
            os.read(reading, 1)
        os._exit(0)
    os.waitpid(child, 0)
    found = [pid for pid, _ in leaks.Snapshot.take().since(before).processes]
    assert len(found) == 1
    os.close(writing)
    os.close(reading)
    assert eventually(lambda: f"process {found[0]}" not in seen(before))


def test_what_was_left_is_ended() -> None:
    before = leaks.Snapshot.take()
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    leaks.end(leaks.Snapshot.take().since(before))
    assert child.wait() == -9
    assert child.stdin is not None
    child.stdin.close()


def test_a_thread() -> None:
    before = leaks.Snapshot.take()
    leave = threading.Event()
    thread = threading.Thread(target=leave.wait, name="left-over")
    thread.start()
    assert "left-over" in seen(before)
    leave.set()
    thread.join()
    assert "left-over" not in seen(before)


def test_a_descriptor() -> None:
    before = leaks.Snapshot.take()
    reading, writing = os.pipe()
    assert f"descriptor {reading}: pipe:" in seen(before)
    os.close(reading)
    os.close(writing)
    assert seen(before) == ""


def test_a_file_in_shared_memory() -> None:
    before = leaks.Snapshot.take()
    path = leaks.SHM / f"left-{uuid.uuid4().hex}"
    path.touch()
    assert str(path) in seen(before)
    path.unlink()
    assert str(path) not in seen(before)


STRANGER = """
import _multiprocessing, os, sys
name = sys.argv[1]
if name.startswith("sem."):
    held = _multiprocessing.SemLock(0, 1, 1, name.removeprefix("sem."), False)
else:
    held = open("/dev/shm/" + name, "x")
print(os.getpid(), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["sem.", ""], ids=["semaphore", "file"])
def test_not_a_file_of_somebody_else(kind: str) -> None:
    name = f"{kind}foreign-{uuid.uuid4().hex[:8]}"
    before = leaks.Snapshot.take()
    # Started by a shell that is gone, without our environment: somebody else.
    shell = ["sh", "-c", 'exec 3<&0; "$@" <&3 &', "sh", sys.executable, "-c", STRANGER, name]
    reading, writing = os.pipe()
    with subprocess.Popen(shell, stdin=reading, stdout=subprocess.PIPE, env={}) as parent:
        assert parent.stdout is not None
        stranger = int(parent.stdout.readline())
    path = leaks.SHM / name
    assert path.exists()
    assert str(path) not in seen(before)
    kill(stranger)
    assert eventually(lambda: str(path) in seen(before))
    path.unlink()
    os.close(reading)
    os.close(writing)


def test_not_what_multiprocessing_keeps() -> None:
    before = leaks.Snapshot.take()
    process = multiprocessing.get_context("forkserver").Process(target=os.getpid)
    process.start()
    process.join()
    process.close()
    assert not leaks.leaked_since(before)
