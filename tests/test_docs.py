"""The guide: its API reference is up to date, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import executor
from docs import build


def test_the_api_reference_is_up_to_date() -> None:
    assert build.API.read_text() == build.api(), "run python -m docs.build"


def test_the_api_reference_names_all_that_is_public() -> None:
    text = build.api()
    assert [name for name in executor.__all__ if f"`{name}`" not in text] == []


@pytest.mark.parametrize("name", ["submit", "map", "map_unordered", "amap", "options", "shutdown", "stats"])
def test_the_api_reference_has_methods_with_their_docstrings(name: str) -> None:
    first = (getattr(executor.ProcessPoolExecutor, name).__doc__ or "").splitlines()[0].replace("``", "`")
    entry = build.api().split(f"#### `ProcessPoolExecutor.{name}`\n")[1].split("\n#### ")[0]
    assert f"\n{name}(" in entry
    assert first in entry


def test_a_public_name_in_no_section_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(build.SECTIONS, "Futures", ["wait", "as_completed"])
    with pytest.raises(LookupError, match="Future"):
        build.api()


@pytest.mark.parametrize("page", build.PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert build.broken_links(page) == []


def test_links_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# One `Heading`, more\n\n```sh\n# not a heading\n```\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n\n"
        "[good](other.md) [good](other.md#one-heading-more) [good](#here) [elsewhere](https://example.org/x)\n"
        "[no file](missing.md) and [no heading](other.md#two)\n"
        "[in a block](other.md#not-a-heading) [not here](#there)\n"
        "```sh\n[not a link](missing.md)\n```\n"
    )
    assert build.broken_links(page) == [
        "page.md:4: missing.md",
        "page.md:4: other.md#two",
        "page.md:5: other.md#not-a-heading",
        "page.md:5: #there",
    ]


def test_every_page_of_the_guide_is_in_the_readme() -> None:
    linked = set(re.findall(r"\]\((docs/[\w.]+)\)", (build.ROOT / "README.md").read_text()))
    assert linked == {f"docs/{page.name}" for page in (build.ROOT / "docs").glob("*.md")}
