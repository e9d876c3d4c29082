"""Runs every example with the arguments it has in CI, and every Python block of the README and of docs/.

A block runs as a script of its own, in an empty folder. One that is only a part of a program says so in a
comment on the line before it, ``<!-- fragment: why -->``: it is compiled, not run. One that needs a module of
an extra names it there, ``<!-- needs: distributed -->``: it is skipped where that is not installed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import ROOT

EXAMPLES = ROOT / "examples"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

# Below the limit of a test, so that what a program printed before it hung is shown.
LIMIT = 100

NAMES = sorted(path.name for path in EXAMPLES.glob("*.py"))

# What an example is given in CI; any other one runs without arguments.
ARGUMENTS: dict[str, list[str]] = {
    "chat_server.py": ["--clients", "8", "--crash", "2"],
    "dask_compute.py": ["--limit", "60"],
    "index_stdlib.py": ["--limit", "300", "--sabotage", "3", "--check"],
    "shared_state.py": ["--limit", "300"],
    "tk_progress.py": ["--unattended", "--virtual"],
}

# Programs that PyPI does not have, without which an example is skipped. CI has them.
NEEDS = {"tk_progress.py": "Xvfb"}

# Modules of other packages, all in the test extra. Without them an example says so in one sentence.
MODULES = {"dask_compute.py": "dask", "numpy_shared.py": "numpy", "parameter_sweep.py": "scipy"}

BLOCK = re.compile(
    r"^(?:<!-- (?P<word>fragment|needs): *(?P<detail>[^\n]*?) *-->\n)?```python\n(?P<source>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block of Python in a page."""

    name: str
    source: str
    is_fragment: bool
    needs: str | None


def blocks_of(page: Path) -> list[Block]:
    """Each by the page's name and the line where it begins."""
    text = page.read_text()
    return [
        Block(
            f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, match.start('source')) + 1}",
            match["source"],
            match["word"] == "fragment",
            match["detail"] if match["word"] == "needs" else None,
        )
        for match in BLOCK.finditer(text)
    ]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


@dataclass(frozen=True)
class Ended:
    """How a program ended, and what it printed."""

    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"exit code {self.code}\n--- out\n{self.out}\n--- err\n{self.err}"


def run(command: list[str], folder: Path) -> Ended:
    """Run a program in the folder, with the project on its path as if it were installed."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    out, err = folder / "stdout.txt", folder / "stderr.txt"
    # Files, not pipes: a worker left behind would keep a pipe open, and the test waiting.
    with out.open("wb") as to_out, err.open("wb") as to_err:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=to_out,
            stderr=to_err,
            start_new_session=True,
        )
        try:
            process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return Ended(process.returncode, out.read_text(), err.read_text())


def test_arguments_are_those_of_examples() -> None:
    assert set(ARGUMENTS) | set(NEEDS) | set(MODULES) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_example(name: str, tmp_path: Path) -> None:
    if name in NEEDS and shutil.which(NEEDS[name]) is None:
        pytest.skip(f"needs {NEEDS[name]}")
    if name in MODULES:
        pytest.importorskip(MODULES[name])
    ended = run([str(EXAMPLES / name), *ARGUMENTS.get(name, [])], tmp_path)
    assert ended.code == 0, str(ended)


def test_readme_shows_python() -> None:
    assert blocks_of(ROOT / "README.md")


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_block(block: Block, tmp_path: Path) -> None:
    compile(block.source, block.name, "exec")
    if block.is_fragment:
        return
    if block.needs is not None:
        pytest.importorskip(block.needs)
    script = tmp_path / "block.py"
    script.write_text(block.source)
    ended = run([str(script)], tmp_path)
    assert ended.code == 0, str(ended)


@pytest.mark.parametrize(("name", "module"), MODULES.items())
def test_a_module_that_is_missing(name: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{module}.py").write_text("raise ImportError\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    ended = run([str(EXAMPLES / name)], tmp_path)
    assert (ended.code, ended.err) == (1, f"This example needs {module}: pip install {module}\n"), str(ended)


# What the exit codes of checksums.py alone do not show.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    for number in range(40):
        (folder / ("sub" if number % 2 else ".") / f"file{number}").write_bytes(b"x" * number)
    return folder


def sums(folder: Path, tmp_path: Path, *arguments: str) -> Ended:
    return run([str(EXAMPLES / "checksums.py"), str(folder), *arguments], tmp_path)


def test_checksums_go_on_where_they_were_interrupted(folder: Path, tmp_path: Path) -> None:
    first = sums(folder, tmp_path, "--stop-after", "10", "--workers", "1")
    assert first.code == 130, str(first)
    match = re.fullmatch(
        r"40 files, 0 of them done before\ninterrupted: (\d+) more are done; start again to go on\n", first.out
    )
    assert match, str(first)
    done = int(match[1])
    assert 10 <= done <= 40
    second = sums(folder, tmp_path)
    assert second.code == 0, str(second)
    assert second.out == (
        f"40 files, {done} of them done before\n{40 - done} more are done, 40 are in checksums.sqlite\n"
    ), str(second)
    (folder / "file2").write_bytes(b"changed")
    changed = sums(folder, tmp_path, "--changed")
    assert changed.out == f"{folder / 'file2'}\n", str(changed)
    with contextlib.closing(sqlite3.connect(tmp_path / "checksums.sqlite")) as connection:
        rows = dict(connection.execute("SELECT path, sha256 FROM file"))
    assert rows[str(folder / "sub" / "file3")] == hashlib.sha256(b"xxx").hexdigest()


def test_checksums_name_what_cannot_be_read(folder: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read any file")
    (folder / "file4").chmod(0)
    ended = sums(folder, tmp_path)
    assert ended.code == 0, str(ended)
    assert f"Permission denied: '{folder / 'file4'}'" in ended.out, str(ended)


# What the exit code of index_stdlib.py alone does not show.


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A small one: two good files, one that is broken."""
    folder = tmp_path / "library"
    (folder / "package").mkdir(parents=True)
    (folder / "good.py").write_text("import os\n\n\ndef long():\n    a = 1\n    return a\n")
    (folder / "package" / "other.py").write_text("from os import path\n\n\nclass C:\n    def short(self): ...\n")
    (folder / "package" / "broken.py").write_text("def f(:\n")
    return folder


def index(library: Path, tmp_path: Path, *arguments: str) -> Ended:
    return run([str(EXAMPLES / "index_stdlib.py"), "--root", str(library), *arguments], tmp_path)


def test_index_tells_what_it_found(library: Path, tmp_path: Path) -> None:
    ended = index(library, tmp_path, "--check")
    assert ended.code == 0, str(ended)
    assert re.search(r"files indexed +2$", ended.out, re.MULTILINE), str(ended)
    assert re.search(r"good\.py:4 long +3 lines$", ended.out, re.MULTILINE), str(ended)
    assert re.search(r"package/other\.py:5 C\.short +1 lines$", ended.out, re.MULTILINE), str(ended)
    assert re.search(r"^  os +2$", ended.out, re.MULTILINE), str(ended)
    assert re.search(r"package/broken\.py +SyntaxError: invalid syntax", ended.out), str(ended)
    assert re.search(r"files that differ +0$", ended.out, re.MULTILINE), str(ended)
    assert "indexed 3 of 3" in ended.err, str(ended)


def test_index_names_what_was_sabotaged(library: Path, tmp_path: Path) -> None:
    ended = index(library, tmp_path, "--sabotage", "3")
    assert ended.code == 0, str(ended)
    lost = re.findall(r"^  (\S+\.py) +pid \d+, SIGKILL, in .*sabotaged", ended.out, re.MULTILINE)
    assert lost == ["good.py", "package/broken.py", "package/other.py"], str(ended)
    assert "indexed 3 of 3, 3 lost" in ended.err, str(ended)


@pytest.mark.parametrize("arguments", [("--sabotage", "4"), ("--limit", "0"), ("--root", "nowhere")])
def test_index_refuses_wrong_arguments(arguments: tuple[str, str], library: Path, tmp_path: Path) -> None:
    ended = index(library, tmp_path, *arguments)
    assert ended.code == 2, str(ended)
    assert "error: " in ended.err, str(ended)
