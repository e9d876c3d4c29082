"""The same tests over the standard pool and ours.

``face`` is either module with one start method, for what cannot depend on it; ``any_face`` is either with
each of its start methods.  ``face.differs(...)`` marks each intended difference, with its reason:
``grep -rn 'differs(' tests/contract`` lists them.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.face import Face, faces


def _name(face: Face) -> str:
    return f"{'standard' if face.is_standard else 'ours'}-{face.start_method}"


def _opened(request: pytest.FixtureRequest) -> Iterator[Face]:
    module, method = request.param.module_name, request.param.start_method
    face = Face(module, method)
    yield face
    face.close()


@pytest.fixture(params=faces(every_method=False), ids=_name)
def face(request: pytest.FixtureRequest) -> Iterator[Face]:
    yield from _opened(request)


@pytest.fixture(params=faces(every_method=True), ids=_name)
def any_face(request: pytest.FixtureRequest) -> Iterator[Face]:
    yield from _opened(request)
