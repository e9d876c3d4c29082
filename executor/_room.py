"""`max_pending`: how many calls of one executor may be submitted and not done; who submits more waits, or is told."""

from __future__ import annotations

from ._errors import TooManyPending
from ._inbox import in_callback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._options import Options
    from ._session import Session

__all__ = ["Room", "check_max_pending"]


def check_max_pending(most: int) -> None:
    if isinstance(most, bool) or not isinstance(most, int):
        raise TypeError(f"max_pending is to be an int, not {type(most).__name__}")
    if most < 1:
        raise ValueError("max_pending must be >= 1")


class Room:
    """Guarded by the engine's lock."""

    __slots__ = ("_left", "_most", "_session")

    def __init__(self, session: Session, most: int) -> None:
        self._session = session
        self._most = most
        self._left = most

    def enter(self, options: Options) -> None:
        """Take a place, waiting for one as the options say. Any thread, without the lock.

        Who waits keeps the loop going, and runs callbacks. In a callback nobody waits, since others wait for its end:
        it is let pass.
        """
        session = self._session
        engine = session.engine
        while True:
            with session.lock:
                session.check_open()
                if self._left > 0 or (options.when_full == "wait" and (in_callback() or engine.loop.is_led_here())):
                    self._left -= 1
                    return
            if options.when_full == "raise":
                raise TooManyPending(self._most)
            session.wait(
                lambda: self._left > 0 or session.closed is not None or engine.loop.closed,
                None,
                lambda: session.waiters,
            )

    def leave(self) -> None:
        """A call is done, or was not submitted after all. With the lock."""
        self._left += 1
        if self._session.waiters:
            self._session.engine.loop.note_woken()
            self._session.wake()
