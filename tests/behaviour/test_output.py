"""What workers print: whole lines, once."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from executor import ProcessPoolExecutor
from tests.scripts import prints_lines
from tests.support import HANG, ROOT, SCRIPTS


def expected(length: int) -> Counter[str]:
    heads = [
        f"{number}.{thread}.{line}:"
        for number in range(prints_lines.WORKERS * 2)
        for thread in range(prints_lines.THREADS)
        for line in range(prints_lines.LINES)
    ]
    return Counter(head + "x" * (length - len(head) - 1) for head in heads)


def command(start_method: str, length: int) -> list[str]:
    return [sys.executable, str(SCRIPTS / "prints_lines.py"), start_method, str(length)]


UNBUFFERED = "PYTHONUNBUFFERED"
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != UNBUFFERED} | {"PYTHONPATH": str(ROOT)}
# A worker imports the main module, and so prints what it prints: the fork server once for all workers.
IMPORTS = {"fork": 1, "forkserver": 2, "loky": 1}


def check(lines: list[str], length: int, start_method: str) -> None:
    counted = Counter(lines)
    imports = counted.pop("the main module")
    if start_method in IMPORTS:
        assert imports == IMPORTS[start_method]
    assert counted.pop("no end") == 1
    assert counted.pop("the parent's own line") == 1
    assert counted == expected(length)


@pytest.mark.parametrize("length", [100, 4096])
def test_to_a_pipe(start_method: str, length: int) -> None:
    ran = subprocess.run(
        command(start_method, length), env=ENVIRONMENT, capture_output=True, text=True, timeout=HANG, check=True
    )
    # What has no end is written at the end of its worker, wherever the others are then.
    check(ran.stdout.replace("no end", "no end\n").splitlines(), length, start_method)
    assert Counter(ran.stderr.splitlines()) == Counter(line.rstrip("x") for line in expected(length))


def test_to_a_file(start_method: str, tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as file:
        subprocess.run(
            command(start_method, 20_000),
            env=ENVIRONMENT,
            stdout=file,
            stderr=subprocess.DEVNULL,
            timeout=HANG,
            check=True,
        )
    check((tmp_path / "out").read_text().replace("no end", "no end\n").splitlines(), 20_000, start_method)


def test_to_a_terminal(start_method: str) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command(start_method, 100), env=ENVIRONMENT, stdout=theirs, stderr=subprocess.DEVNULL
    ) as process:
        os.close(theirs)
        text = b""
        try:
            while data := os.read(ours, 65536):
                text += data
        except OSError:  # the last who had it open is gone
            pass
        os.close(ours)
        assert process.wait(HANG) == 0
    check(text.decode().replace("\r", "").replace("no end", "no end\n").splitlines(), 100, start_method)


def look_at_the_streams() -> list[object]:
    out = sys.stdout
    out.buffer.write(b"")
    return [out.encoding, out.fileno(), out.isatty(), out.writable(), out is sys.__stdout__, out.mode]


def test_the_streams_are_like_any(start_method: str) -> None:
    program = (
        "from tests.behaviour.test_output import look_at_the_streams\n"
        "from executor import ProcessPoolExecutor\n"
        "if __name__ == '__main__':\n"
        f"    with ProcessPoolExecutor(1, {start_method!r}) as pool:\n"
        "        print(pool.submit(look_at_the_streams).result() == look_at_the_streams())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=ENVIRONMENT, capture_output=True, timeout=HANG, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"True\n", b"")


def print_after_closing() -> str:
    os.close(sys.stdout.fileno())
    try:
        sys.stdout.write("nowhere\n")
    except OSError:
        return "refused"
    return "printed"


def test_a_closed_descriptor_is_an_error_in_the_task(start_method: str) -> None:
    with ProcessPoolExecutor(1, start_method) as pool:
        assert pool.submit(print_after_closing).result(HANG) == "refused"
