"""What is built and installed: the wheel, its metadata, the names it exports."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest

import executor
from tests.support import ROOT

USE = """
import json, operator, sys
import executor
loaded = sorted(sys.modules)
if __name__ == "__main__":
    with executor.ProcessPoolExecutor(1) as pool:
        result = pool.submit(operator.add, 2, 3).result(60)
    print(json.dumps({"file": executor.__file__, "loaded": loaded, "result": result}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    [file] = directory.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def used(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a program sees that has only the wheel, and what it depends on."""
    directory = tmp_path_factory.mktemp("use")
    site = directory / "site"
    zipfile.ZipFile(wheel).extractall(site)
    program = directory / "program.py"
    program.write_text(USE)
    environment = os.environ | {"PYTHONPATH": str(site)}
    ran = subprocess.run([sys.executable, str(program)], cwd=directory, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    answer: dict[str, Any] = json.loads(ran.stdout)
    assert Path(answer["file"]) == site / "executor" / "__init__.py"
    return answer


def metadata(wheel: Path) -> Message:
    archive = zipfile.ZipFile(wheel)
    [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    return Parser().parsestr(archive.read(name).decode())


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "executor").rglob("*.py")}
    assert sources | {"executor/py.typed", "executor/_report.html"} <= names
    assert all(name.startswith("executor/") for name in names)
    assert not any("__pycache__" in name for name in names)


def test_the_wheel_holds_the_licence(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    [licence] = [name for name in archive.namelist() if name.endswith("/LICENSE")]
    assert archive.read(licence).decode().startswith("MIT License")


def test_metadata(wheel: Path) -> None:
    data = metadata(wheel)
    assert data["Name"] == "executor-pool"
    assert data["Requires-Python"] == ">=3.11"
    assert data["License-Expression"] == "MIT"
    assert data["Version"] == executor.__version__
    needed = [line for line in data.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert {line.split(">")[0] for line in needed} == {"cloudpickle", "loky", "psutil"}
    assert {"test", "bench", "dask", "progress", "dev"} <= set(data.get_all("Provides-Extra", []))


def test_the_wheel_works_alone(used: dict[str, Any]) -> None:
    assert used["result"] == 5


@pytest.mark.parametrize("heavy", ["loky", "psutil", "cloudpickle", "numpy", "asyncio", "multiprocessing"])
def test_the_import_is_light(used: dict[str, Any], heavy: str) -> None:
    assert "executor" in used["loaded"]
    assert heavy not in used["loaded"]


@pytest.mark.parametrize("name", executor.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    value = getattr(executor, name)
    assert name in dir(executor)
    if inspect.isclass(value) or inspect.isroutine(value):
        assert inspect.getdoc(value) or not value.__module__.startswith("executor")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        executor.no_such_name  # noqa: B018 (the access is the test)
