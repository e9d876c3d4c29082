"""A window with a progress bar: workers compute, callbacks move the bar, the window never freezes.

    python examples/tk_progress.py                           a window; Start, Cancel
    python examples/tk_progress.py --unattended              the window presses its own buttons, then closes
    python examples/tk_progress.py --unattended --virtual    the same on a virtual display (needs Xvfb)

Tk may be touched by the thread that made it only, and so it is here: callbacks come to the thread that made the
executor. Tk tells when there are some: ``fileno()`` of the executor becomes readable, and ``run_callbacks(0)`` runs
them. One of the items kills its worker; its square turns red, the others turn green.

Exit code 0: with --unattended, every square has the colour that it should. 1: not so. 2: wrong arguments.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import tkinter
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from tkinter import ttk

from executor import CancelledError, Future, ProcessPoolExecutor

COLUMNS = 20
SIZE = 16  # pixels of a square
ROUNDS = 20_000
WAITING, DONE, FAILED, CANCELLED = "gray85", "sea green", "firebrick", "goldenrod"


# In the workers


def work(number: int, bad: int) -> str:
    """Something that takes its time; the bad number kills the worker."""
    if number == bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return hashlib.pbkdf2_hmac("sha256", str(number).encode(), b"salt", ROUNDS).hex()


# The window


class Window:
    """A square for each item, and a bar for them all."""

    def __init__(self, root: tkinter.Tk, pool: ProcessPoolExecutor, items: int) -> None:
        self._root = root
        self._pool = pool
        self._items = items
        self._futures: list[Future[str]] = []
        self._is_open = True
        root.title("Progress")
        rows = -(-items // COLUMNS)
        self._canvas = tkinter.Canvas(root, width=COLUMNS * SIZE, height=rows * SIZE)
        self._canvas.pack(padx=8, pady=8)
        self._squares = [self._square(number) for number in range(items)]
        self._bar = ttk.Progressbar(root, maximum=items, length=COLUMNS * SIZE)
        self._bar.pack(padx=8)
        self.start_button = ttk.Button(root, text="Start", command=self._start)
        self.start_button.pack(side=tkinter.LEFT, padx=8, pady=8)
        self.cancel_button = ttk.Button(root, text="Cancel", command=self._cancel, state=tkinter.DISABLED)
        self.cancel_button.pack(side=tkinter.RIGHT, padx=8, pady=8)
        # The one line that brings executor and toolkit together.
        root.tk.createfilehandler(pool, tkinter.READABLE, lambda *_: pool.run_callbacks(0))

    def _square(self, number: int) -> int:
        row, column = divmod(number, COLUMNS)
        x, y = column * SIZE, row * SIZE
        return self._canvas.create_rectangle(x + 1, y + 1, x + SIZE - 1, y + SIZE - 1, fill=WAITING, width=0)

    def _start(self) -> None:
        for square in self._squares:
            self._canvas.itemconfigure(square, fill=WAITING)
        self._bar["value"] = 0
        self._set_running(True)
        self._futures = []
        for number, square in enumerate(self._squares):
            calls = self._pool.options(
                callback=partial(self._show, square), error_callback=partial(self._show_error, square)
            )
            self._futures.append(calls.submit(work, number, self._items // 2))

    def _cancel(self) -> None:
        for future in self._futures:
            future.cancel()  # what runs is finished, what waits is not begun

    def _show(self, square: int, _: str) -> None:
        self._paint(square, DONE)

    def _show_error(self, square: int, error: BaseException) -> None:
        self._paint(square, CANCELLED if isinstance(error, CancelledError) else FAILED)

    def _paint(self, square: int, colour: str) -> None:
        if not self._is_open:
            return
        self._canvas.itemconfigure(square, fill=colour)
        self._bar["value"] += 1
        if self._bar["value"] == self._items:
            self._set_running(False)
            self._root.event_generate("<<Finished>>")

    def _set_running(self, running: bool) -> None:
        self.start_button["state"] = tkinter.DISABLED if running else tkinter.NORMAL
        self.cancel_button["state"] = tkinter.NORMAL if running else tkinter.DISABLED

    def colours(self) -> Counter[str]:
        """How many squares have which colour."""
        return Counter(self._canvas.itemcget(square, "fill") for square in self._squares)

    def close(self) -> None:
        """The window is gone; callbacks may come until the end of the executor."""
        self._is_open = False
        self._root.tk.deletefilehandler(self._pool)
        self._cancel()


class Script:
    """Presses the buttons: a run to the end, then one that is cancelled."""

    def __init__(self, root: tkinter.Tk, window: Window) -> None:
        self._root = root
        self._window = window
        self._ticks = 0
        self.found: list[Counter[str]] = []
        root.bind("<<Finished>>", self._finished)
        root.after_idle(window.start_button.invoke)
        self._tick()

    def _tick(self) -> None:
        """A window that freezes would not come to this."""
        self._ticks += 1
        self._root.after(5, self._tick)

    def _finished(self, _: object) -> None:
        self.found.append(self._window.colours())
        if len(self.found) == 1:
            self._window.start_button.invoke()
            # Not after_idle: while results come without a pause, Tk is never idle.
            self._root.after(1, self._window.cancel_button.invoke)
        else:
            self._root.after_idle(self._root.destroy)

    def verdict(self, items: int) -> bool:
        """Tell what was seen; whether it is what it should be."""
        print(f"{self._ticks} ticks of the window's clock; the squares: {[dict(found) for found in self.found]}")
        if len(self.found) != 2:
            return False
        whole, cancelled = self.found
        return whole == {DONE: items - 1, FAILED: 1} and cancelled[CANCELLED] > 0 and cancelled[WAITING] == 0


@contextmanager
def virtual_display() -> Iterator[None]:
    """A display that nobody sees, within the block."""
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "800x600x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL) as server:
        os.close(writing)
        try:
            with open(reading) as number:
                os.environ["DISPLAY"] = f":{number.readline().strip()}"
            yield
        finally:
            server.terminate()


def show(items: int, unattended: bool) -> int:
    """Open the window; back when it is closed."""
    with ProcessPoolExecutor() as pool:
        root = tkinter.Tk()
        window = Window(root, pool, items)
        script = Script(root, window) if unattended else None
        root.mainloop()
        window.close()
    return 0 if script is None or script.verdict(items) else 1


def arguments() -> argparse.Namespace:
    """The command line."""
    summary, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=200, metavar="N")
    parser.add_argument("--unattended", action="store_true", help="press the buttons, then close")
    parser.add_argument("--virtual", action="store_true", help="on a virtual display")
    options = parser.parse_args()
    if options.items < 20:
        parser.error("there must be 20 items at least")
    return options


def main() -> int:
    options = arguments()
    if not options.virtual:
        return show(options.items, options.unattended)
    with virtual_display():
        return show(options.items, options.unattended)


if __name__ == "__main__":
    sys.exit(main())
