"""How a worker of a Pool pickles results: as multiprocessing's does. Imported in workers."""

from __future__ import annotations

from ._pickling import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._pickling import Parcel

__all__ = ["encode_result"]


def encode_result(by_value: str, value: Any) -> bytes | Parcel:
    """Functions and classes by their names, but for what ``by_value`` says (see `encode`); MaybeEncodingError where
    that fails.
    """
    try:
        return encode(value, by_value=by_value)
    except Exception as error:
        from multiprocessing.pool import MaybeEncodingError  # type: ignore[attr-defined]  # not in typeshed

        raise MaybeEncodingError(error, value) from None
