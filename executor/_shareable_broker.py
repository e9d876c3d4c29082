"""A thread that serves what other processes can reach only through this one.

It waits for channels: anything with a descriptor whose far end travels inside pickles (`_shareable_remote`
has the semaphores, a `Pin` is below). Every lifetime is that of a descriptor, so nothing has to be cleaned up
after a process that dies, nor after a pickle that never arrives: the kernel closes what they had, and the
broker sees the end.
"""

from __future__ import annotations

import logging
import os
import selectors
import threading
from collections import deque

from ._shareable_descriptors import OwnedDescriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Channel(Protocol):
        """What the broker waits for."""

        def fileno(self) -> int: ...

        def ready(self, broker: Broker) -> None:
            """Handle what has arrived. Raises EOFError or OSError when the other end is closed."""

        def close(self) -> None: ...

        def abandon(self) -> None:
            """As `close`, in a forked child: what is served stays as it is, for it is the parent's."""


__all__ = ["Broker", "Pin", "serve"]

_lock = threading.Lock()
_broker: Broker | None = None  # guarded by _lock
_watches_forks = False  # guarded by _lock


def serve(channel: Channel) -> None:
    """Wait for this channel until its other end is closed, and close it then. From any thread."""
    global _broker, _watches_forks
    with _lock:
        if not _watches_forks:
            os.register_at_fork(after_in_child=_after_fork)
            _watches_forks = True
        if _broker is None:
            _broker = Broker()
        _broker.add(channel)


def _after_fork() -> None:
    global _lock, _broker
    _lock = threading.Lock()  # its holder did not come along
    abandoned, _broker = _broker, None
    if abandoned is not None:
        abandoned.abandon()


class Broker:
    """Serves channels, each until its other end is closed. It ends, with its thread, when it has none."""

    def __init__(self) -> None:
        self._channels: dict[Channel, None] = {}  # guarded by _lock
        self._arrivals: deque[Channel] = deque()  # to be waited for
        self._selector = selectors.DefaultSelector()  # broker thread only
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        threading.Thread(target=self._run, name="executor-broker", daemon=True).start()

    def add(self, channel: Channel) -> None:
        """Called with _lock held."""
        self._channels[channel] = None
        self.resume(channel)

    def pause(self, channel: Channel) -> None:
        """Do not wait for this channel until `resume`. Called by the channel, when it is ready."""
        self._selector.unregister(channel)

    def resume(self, channel: Channel) -> None:
        """Wait for it again. From any thread."""
        self._arrivals.append(channel)
        os.eventfd_write(self._wakeup, 1)

    def _run(self) -> None:
        self._wait()  # for the first channel
        while self._has_channels():
            self._wait()

    def _wait(self) -> None:
        for key, _ in self._selector.select():
            if key.data is None:
                os.eventfd_read(self._wakeup)
            else:
                self._attend(key.data)
        while self._arrivals:
            channel = self._arrivals.popleft()
            self._selector.register(channel, selectors.EVENT_READ, channel)

    def _has_channels(self) -> bool:
        global _broker
        with _lock:
            if self._channels:
                return True
            _broker = None
        self._selector.close()
        os.close(self._wakeup)
        return False

    def _attend(self, channel: Channel) -> None:
        try:
            channel.ready(self)
        except (EOFError, OSError):
            self._drop(channel)
        except Exception:  # one broken channel must not end the service of the others
            logging.getLogger("executor").exception("An object that was sent to a worker can be served no longer")
            self._drop(channel)

    def _drop(self, channel: Channel) -> None:
        self._selector.unregister(channel)
        channel.close()
        with _lock:
            del self._channels[channel]

    def abandon(self) -> None:
        """In a child after fork(): let go of the parent's channels, whose far ends would not see them end."""
        for channel in list(self._channels):
            channel.abandon()
        self._selector.close()  # nothing is unregistered: the table in the kernel is the parent's too
        os.close(self._wakeup)


class Pin:
    """Keeps an object alive until every copy of a pipe's write end is closed."""

    def __init__(self, what: object) -> None:
        self._what = what
        near, self.far = os.pipe()
        self._near = OwnedDescriptor(near)

    def fileno(self) -> int:
        return self._near.fileno()

    def ready(self, broker: Broker) -> None:
        raise EOFError  # nobody writes

    def close(self) -> None:
        os.close(self._near.detach())

    abandon = close
