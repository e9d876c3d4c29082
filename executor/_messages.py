"""What crosses the channel.

To the worker go frames, each one pickle of a tuple that begins with one of:

    SETUP    (SETUP, facts, initial)                     the first; the status page and the lifeline beside it
    SLOT     (SLOT, number)                              where it was not known yet when the worker was set up
    CALLS    (CALLS, [call, ...], look)                  look: the worker may look for the next (`_spin`)
    LOGGING  (LOGGING, state)                            levels and filters of the parent (`_forwarding`)
    RETIRE   (RETIRE,)                                   end when everything before is done

A call is one of

    (lease, payload)                                     a pickled (fn, args, kwargs), or two pickles: of a function
                                                         with a name of its own, of (args, kwargs) (`_named`)
    (lease, payload, n)                                  a parcel with n descriptors (`_pickling`)
    (lease, payload, n, name, attempt)                   the same (n is None: no parcel), with what `current_task` tells
    (lease, fn payload, how, items)                      a run of map items: a pickled list, or a list of pickles;
                                                         how: STAR (an item is all arguments) | TIMED (each on its own)
                                                         | STAMPED (it is to be known when each ended)

To the parent go records: a header and a payload each, many to a frame, so that they can lie in shared memory
until they are sent (`_status`):

    lease, kind | length << 8, started (monotonic ns), duration (ns) | payload | padding to 8 bytes

    RETURNED RAISED   the outcome of a lease: the pickled value or exception (of a run: of the item whose
                      index is in the upper half of the lease word)
    SKIPPED           this lease was revoked and has not run (of a run: from that item on)
    INTS FLOATS       the results of consecutive items of a run, in an array (`_series`). The lease word has the index
    BOOLS NONES       of the first; start and duration are those of all
    PICKLES           together. With STAMPED, a flag, when each ended stands before them
    READY FAILED      lease 0: the initializer has run, or how it failed
    DONE              lease 0: the finalizer has run; only the end of the interpreter is to come
    LOG               lease 0: a log record or a warning (`_log_records`); in the place of the start its number, from 1,
                      by which the parent knows one that it has read before
    NOTE              lease 0: of the task that runs, a pickled tuple of a tag, its lease, its item, and facts

The kind and the lease stand outside the payload: one that cannot be decoded fails its own future alone.
"""

from __future__ import annotations

from struct import Struct

__all__ = [
    "ALL_ITEMS",
    "CALLS",
    "HEADER",
    "LOGGING",
    "RETIRE",
    "SETUP",
    "SLOT",
    "STAMPED",
    "STAR",
    "TIMED",
    "Kind",
    "pad",
    "record",
]

SETUP, SLOT, CALLS, RETIRE, LOGGING = range(5)

HEADER = Struct("=QQQQ")
STAR, TIMED, STAMPED = 1, 2, 4
ALL_ITEMS = 0xFFFFFFFF  # instead of an item's index: all of the run that has no outcome yet


class Kind:
    """Kinds of records. PARCEL, a flag: the payload has descriptors or segments beside it; STAMPED: see above."""

    RETURNED = 1
    RAISED = 2
    SKIPPED = 3
    READY = 4
    FAILED = 5
    NOTE = 6
    DONE = 7
    LOG = 8
    INTS = 9
    FLOATS = 10
    BOOLS = 11
    NONES = 12
    PICKLES = 13
    STAMPED = 64
    PARCEL = 128
    ALONE = 63  # the bits of the kind itself


def pad(size: int) -> int:
    """The size of a payload with its padding."""
    return (size + 7) & ~7


def record(kind: int, payload: bytes = b"", *, lease: int = 0, started: int = 0, duration: int = 0) -> bytes:
    """One record as bytes (used where speed does not matter; the worker writes outcomes in place)."""
    head = HEADER.pack(lease, kind | len(payload) << 8, started, duration)
    return head + payload.ljust(pad(len(payload)), b"\0")
