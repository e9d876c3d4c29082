"""Makes docs/api.md from the docstrings of the public names, and checks the links of all pages.

    python -m docs.build            writes docs/api.md; exit code 1 if a link leads nowhere

The source is read, not imported: signatures and docstrings stand as they are written, whatever the version of Python.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import executor

__all__ = ["PAGES", "api", "broken_links", "main"]

ROOT = Path(__file__).resolve().parent.parent
API = ROOT / "docs" / "api.md"
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "ARCHITECTURE.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]

# What methods return, beside the names that the package exports.
RETURNED = {
    "Submitter": "executor._executor",
    "AsyncResult": "executor._pool_results",
    "MapResult": "executor._pool_results",
    "IMapIterator": "executor._pool_results",
}
SECTIONS = {
    "Executors": ["ProcessPoolExecutor", "Submitter", "WorkerManager", "get_reusable_executor"],
    "Futures": ["Future", "wait", "as_completed"],
    "In tasks": ["current_worker", "WorkerInfo", "current_task", "TaskInfo", "report_progress"],
    "Restart policy": ["RestartIntensity", "Backoff"],
    "What runs": ["Stats", "WorkerStats", "log_to_stderr"],
    "Shared data": ["share", "Shared"],
    "Locks": ["RobustLock", "Holder", "HolderDied"],
    "Errors": [
        "WorkerLost",
        "Attempt",
        "MemoryQuotaExceeded",
        "InitializerError",
        "RestartLimitReached",
        "TaskTimeout",
        "SoftTimeout",
        "DependencyFailed",
        "TooManyPending",
        "ForkedExecutor",
        "RemoteException",
    ],
    "The face of multiprocessing.Pool": ["Pool", "AsyncResult", "MapResult", "IMapIterator"],
}
NOT_MADE_BY_USERS = {"Future", *SECTIONS["Errors"], *RETURNED}
HEAD = """\
# API reference

<!-- Made from the docstrings by `python -m docs.build`; not to be edited. -->

All names are in the package `executor`. Times are in seconds, sizes in bytes. `Executor` is another name of
[`ProcessPoolExecutor`](#processpoolexecutor). `DaskExecutor` has [a page of its own](distributed.md).
"""
SPELLED_OUT = {"StandardFuture": "concurrent.futures.Future", "_standard": "concurrent.futures"}

Function = ast.FunctionDef | ast.AsyncFunctionDef

# --- the API reference ------------------------------------------------------------------------------------------------


def api() -> str:
    """The text of docs/api.md. Raises LookupError for a public name that is in no section."""
    missing = set(_ours()) - {name for names in SECTIONS.values() for name in names} - {"Executor"}
    if missing:
        raise LookupError(f"in no section of the API reference: {', '.join(sorted(missing))}")
    parts = [HEAD]
    for section, names in SECTIONS.items():
        parts.append(f"## {section}\n")
        parts += [_entry(name) for name in names]
    parts.append("## From the standard library\n")
    parts.append(f"Exported again as they are: {', '.join(f'`{name}`' for name in sorted(_theirs()))}.\n")
    return "\n".join(parts)


def _ours() -> dict[str, str]:
    """Public names of the package's own, and the modules that define them."""
    return {name: home for name, home in executor._HOMES.items() if home.startswith("executor.")} | RETURNED


def _theirs() -> set[str]:
    return set(executor.__all__) - set(_ours())


def _entry(name: str) -> str:
    node = _definition(name, ROOT.joinpath(*_ours()[name].split(".")).with_suffix(".py"))
    return "\n".join(_class(node) if isinstance(node, ast.ClassDef) else _function(node, "###"))


def _definition(name: str, file: Path) -> ast.ClassDef | Function:
    """The first one in the file: what stands under TYPE_CHECKING says more than what runs."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            return node
    raise LookupError(f"{name} is not defined in {file}")


def _class(node: ast.ClassDef) -> Iterator[str]:
    yield f"### `{node.name}`\n"
    bases = [text for base in node.bases if (text := _base(base))]
    made_by = next((part for part in _functions(node) if part.name == "__init__"), None)
    if made_by is not None and node.name not in NOT_MADE_BY_USERS:
        yield f"```text\n{_signature(made_by, node.name)}\n```\n"
    if bases:
        yield f"Is a {', '.join(f'`{base}`' for base in bases)}.\n"
    yield _text(node)
    fields = [part for part in node.body if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)]
    if fields:
        yield "\n".join(f"- `{ast.unparse(field.target)}: {ast.unparse(field.annotation)}`" for field in fields) + "\n"
    for part in _functions(node):
        if not part.name.startswith("_") and ast.get_docstring(part):
            yield from _function(part, "####", node.name)


def _functions(node: ast.ClassDef) -> list[Function]:
    return [part for part in node.body if isinstance(part, Function)]


def _base(node: ast.expr) -> str | None:
    """How a base class is called; None for those that only matter inside."""
    name = ast.unparse(node).split("[")[0]
    first, _, rest = name.partition(".")
    if first in SPELLED_OUT:
        return ".".join(filter(None, (SPELLED_OUT[first], rest)))
    return None if name.startswith("_") or name in ("Task", "Generic", "NamedTuple") else name


def _function(node: Function, level: str, owner: str = "") -> Iterator[str]:
    yield f"{level} `{f'{owner}.' if owner else ''}{node.name}`\n"
    if any(ast.unparse(decorator) == "property" for decorator in node.decorator_list):
        yield f"An attribute: `{ast.unparse(node.returns) if node.returns else 'Any'}`.\n"
    else:
        yield f"```text\n{_signature(node, node.name)}\n```\n"
    yield _text(node)


def _signature(node: Function, name: str) -> str:
    """On one line, or with one parameter a line where that is too long."""
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    parts = []
    for index, (argument, default) in enumerate(zip(positional, defaults, strict=True)):
        parts.append(_parameter(argument, default))
        if index + 1 == len(arguments.posonlyargs):
            parts.append("/")
    if parts and parts[0] == "self":
        del parts[0]
        if parts and parts[0] == "/":
            del parts[0]
    if arguments.vararg:
        parts.append(f"*{_parameter(arguments.vararg, None)}")
    elif arguments.kwonlyargs:
        parts.append("*")
    parts += [_parameter(*pair) for pair in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    if arguments.kwarg:
        parts.append(f"**{_parameter(arguments.kwarg, None)}")
    result = f" -> {ast.unparse(node.returns)}" if node.returns and node.name != "__init__" else ""
    line = f"{name}({', '.join(parts)}){result}"
    if len(line) <= 100:
        return line
    return "\n".join([f"{name}(", *(f"    {part}," for part in parts), f"){result}"])


def _parameter(argument: ast.arg, default: ast.expr | None) -> str:
    text = argument.arg
    if argument.annotation is not None:
        text += f": {ast.unparse(argument.annotation)}"
    if default is not None:
        text += f"{' = ' if argument.annotation is not None else '='}{ast.unparse(default)}"
    return text


def _text(node: ast.ClassDef | Function) -> str:
    """The docstring in Markdown: lines that explain an argument become a list."""
    lines: list[str] = []
    in_list = False
    for line in (ast.get_docstring(node) or "").splitlines():
        if re.match(r"``\w+``(, ``\w+``)*:", line):
            if lines and lines[-1] and not in_list:
                lines.append("")
            in_list = True
            line = f"- {line}"
        elif in_list and line.startswith(("Each ", "All ", "Raises ", "Only ")):
            in_list = False
            lines.append("")
        elif in_list and line:
            line = f"  {line.lstrip()}"
        in_list = in_list and bool(line)
        lines.append(line)
    return "\n".join(lines).replace("``", "`") + "\n" if lines else ""


# --- links ------------------------------------------------------------------------------------------------------------


def broken_links(page: Path) -> list[str]:
    """The links of a page that lead to no file and no heading, each with its line. Other sites are not asked."""
    broken = []
    for number, line in _prose(page):
        for target in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", line):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            file = (page.parent / name).resolve() if name else page
            if not file.exists() or (anchor and anchor not in _anchors(file)):
                broken.append(f"{page.name}:{number}: {target}")
    return broken


def _prose(page: Path) -> Iterator[tuple[int, str]]:
    """The lines outside of fenced blocks, with their numbers."""
    fenced = False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield number, line


def _anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links, as GitHub makes it."""
    headings = (line.lstrip("#").strip().lower() for _, line in _prose(page) if re.match(r"#+ ", line))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}


def main() -> int:
    API.write_text(api())
    broken = [link for page in PAGES for link in broken_links(page)]
    for link in broken:
        sys.stderr.write(f"leads nowhere: {link}\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
