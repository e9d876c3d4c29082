"""Named resources as tokens: how many of each there are, and how many are free.

Pure; guarded by the manager's lock.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Requirement = tuple[tuple[str, int], ...]  # sorted by name

__all__ = ["Tokens", "parse_resources"]


def parse_resources(resources: Mapping[str, int] | None) -> Requirement:
    """Names and whole numbers above 0; TypeError or ValueError for anything else."""
    if not resources:
        return ()
    for name, number in resources.items():
        if not isinstance(name, str):
            raise TypeError(f"the name of a resource is to be a str, not {name!r}")
        if isinstance(number, bool) or not isinstance(number, int):
            raise TypeError(f"resources are counted in whole numbers, not {number!r} ({name!r})")
        if number < 1:
            raise ValueError(f"a number of resources is to be 1 or more, not {number} ({name!r})")
    return tuple(sorted(resources.items()))


class Tokens:
    __slots__ = ("_free", "_freed", "_totals")

    def __init__(self, totals: Requirement, freed: Callable[[], None]) -> None:
        self._totals = dict(totals)
        self._free = dict(totals)
        self._freed = freed  # called when some have become free

    def check(self, needed: Requirement) -> None:
        """Raise ValueError if there will never be as many."""
        for name, number in needed:
            total = self._totals.get(name)
            if total is None:
                known = ", ".join(sorted(self._totals)) or "none"
                raise ValueError(f"this executor has no resource {name!r}; it was made with: {known}")
            if number > total:
                raise ValueError(f"{number} of {name!r} are more than the {total} there are")

    def fits(self, needed: Requirement) -> int:
        """How many tasks that need so much could begin now."""
        return min(self._free[name] // number for name, number in needed)

    def take(self, needed: Requirement) -> Held:
        for name, number in needed:
            self._free[name] -= number
        return Held(self, needed)

    def give(self, needed: Requirement) -> None:
        for name, number in needed:
            self._free[name] += number
        self._freed()


class Held:
    """Tokens that a lease holds until it is over, however."""

    __slots__ = ("_needed", "_tokens")

    def __init__(self, tokens: Tokens, needed: Requirement) -> None:
        self._tokens = tokens
        self._needed = needed

    def release(self) -> None:
        needed, self._needed = self._needed, ()
        if needed:
            self._tokens.give(needed)
