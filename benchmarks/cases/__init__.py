"""One benchmark a file; each has a ``CASE``. Their order in the report is NAMES."""

from __future__ import annotations

NAMES = (
    "throughput",
    "latency",
    "cpu",
    "map",
    "chunks",
    "array",
    "inbound",
    "share",
    "cold",
    "start",
    "warm",
    "replace",
    "recycle",
    "skew",
    "pending",
    "flat",
    "crowd",
    "stall",
)
