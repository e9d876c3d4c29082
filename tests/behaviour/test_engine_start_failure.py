"""Workers that cannot start fail the futures with the cause; nothing hangs, nothing starts for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import program


def test_no_descriptors_left(start_method: str, tmp_path: Path) -> None:
    with program("no_descriptors.py", start_method, directory=tmp_path) as run:
        assert run.wait() == 0, run.out + run.err
        assert run.out.splitlines() == ["refused", "works again"]
        run.wait_family_gone()


@pytest.mark.parametrize("method", ["spawn", "loky"])
def test_an_interpreter_that_cannot_start(method: str, tmp_path: Path) -> None:
    with program("no_interpreter.py", method, directory=tmp_path) as run:
        assert run.wait() == 0, run.out + run.err
        assert run.out.splitlines() == ["refused", "refused again", "works again"]
        run.wait_family_gone()
