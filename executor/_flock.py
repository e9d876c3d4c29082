"""flock() with a time limit, for one waiting thread at a time.

The kernel gives such a lock up when its holder dies, whatever way it dies; but a thread that waits inside
flock() can neither be given a limit nor be called back. So where the lock is not to be had at once a helper
thread waits for it in the kernel, and who wanted it waits for the helper. A helper that is no longer wanted
gives the lock back.
"""

from __future__ import annotations

import fcntl
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._shareable_descriptors import OwnedDescriptor

__all__ = ["FileLock"]


class FileLock:
    """The lock of one open file description. The description must be this process's own (see flock(2))."""

    def __init__(self, file: OwnedDescriptor) -> None:
        self._file = file
        self._guard = threading.Lock()
        self._held = False  # guarded by _guard
        self._wanted = False  # guarded by _guard: somebody waits for the helper
        self._helping = False  # guarded by _guard: the helper is in the kernel
        self._handed_over = threading.Semaphore(0)

    def acquire(self, timeout: float | None) -> bool:
        """Never by two threads at once, nor while it is held."""
        with self._guard:
            if self._try():
                return True
            if timeout is not None and timeout <= 0:
                return False
            if not self._helping:
                threading.Thread(target=self._help, name="executor-flock", daemon=True).start()
                self._helping = True
            self._wanted = True
        try:
            return self._handed_over.acquire(timeout=timeout) or self._withdraw()
        except BaseException:  # KeyboardInterrupt, or what a signal handler raises
            if self._withdraw():
                self.release()
            raise

    def release(self) -> None:
        with self._guard:
            self._held = False
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _try(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self._held = True
        return True

    def _withdraw(self) -> bool:
        """No longer wait for the helper; True if it has just handed the lock over."""
        with self._guard:
            if self._wanted:
                self._wanted = False
                return False
        self._handed_over.acquire(blocking=False)  # unless the wait had it when it was interrupted
        return True

    def _help(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        with self._guard:
            self._helping = False
            if self._wanted:
                self._wanted = False
                self._held = True
                self._handed_over.release()
            # It is held when it was had at once meanwhile: this description has it, once.
            elif not self._held:
                fcntl.flock(self._file, fcntl.LOCK_UN)
