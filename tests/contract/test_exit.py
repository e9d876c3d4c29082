"""Programs that end while their pool is at work: it is finished, and they print nothing but their own."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.face import Face
from tests.support import program

PROGRAM = Path(__file__).with_name("program.py")


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str
    notes: list[int]


def run(face: Face, scenario: str, directory: Path) -> Ended:
    notes = directory / "notes"
    arguments = (face.module_name, face.start_method, scenario, str(notes))
    with program(str(PROGRAM), *arguments, directory=directory) as running:
        code = running.wait(60)
        running.wait_family_gone()
        lines = notes.read_text().split() if notes.exists() else []
        return Ended(code, running.out, running.err, sorted(map(int, lines)))


def skip_where_work_may_be_lost(face: Face) -> None:
    """Python 3.12 starts no thread once the program has come to its end, and the standard pool's manager drops all
    that is pending, in silence, if it has not started the thread that feeds its workers by then."""
    if face.is_standard and sys.version_info[:2] == (3, 12):
        pytest.skip("the standard pool of Python 3.12 may lose what is pending at the end of the program")


@pytest.mark.parametrize("scenario", ["falls_off_the_end", "shuts_down_without_waiting", "drops_the_executor"])
def test_pending_work_is_finished(any_face: Face, scenario: str, tmp_path: Path) -> None:
    skip_where_work_may_be_lost(any_face)
    assert run(any_face, scenario, tmp_path) == Ended(0, "", "", list(range(10)))


def test_an_error_in_with(any_face: Face, tmp_path: Path) -> None:
    ended = run(any_face, "raises_in_with", tmp_path)
    assert ended.code == 1
    assert ended.notes == list(range(10))
    assert ended.err.count("Traceback") == 1
    assert ended.err.endswith("LookupError: the program failed\n")


def test_exit_code_in_with(face: Face, tmp_path: Path) -> None:
    assert run(face, "leaves_with_exit", tmp_path) == Ended(3, "", "", list(range(10)))


def test_callbacks_at_the_end(face: Face, tmp_path: Path) -> None:
    assert run(face, "calls_back_at_the_end", tmp_path) == Ended(0, "done None\n" * 10, "", list(range(10)))


def test_functions_of_main(any_face: Face, tmp_path: Path) -> None:
    skip_where_work_may_be_lost(any_face)
    assert run(any_face, "uses_its_own_functions", tmp_path) == Ended(0, "285\n", "", list(range(10)))


def test_a_submit_after_the_end(face: Face, tmp_path: Path) -> None:
    ended = run(face, "submits_too_late", tmp_path)
    assert (ended.code, ended.err, ended.notes) == (0, "", list(range(10)))
    assert ended.out.startswith("cannot schedule new futures after ")
