"""Await tasks that take ten minutes, in the way that is named, until Ctrl-C."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from executor import ProcessPoolExecutor
from tests.scripts.ctrl_c import sleep, tell_when_ready
from tests.support import Gate, alive, new_gate


async def await_in(waits: str, pool: ProcessPoolExecutor, gate: Gate) -> None:
    calls = [pool.submit(sleep, gate) for _ in range(8)]
    futures = [asyncio.wrap_future(call) for call in calls]
    if waits == "gather":
        await asyncio.gather(*futures)
    elif waits == "amap":
        async for _ in pool.amap(sleep, [gate] * 10):
            pass
    elif waits == "task group":
        async with asyncio.TaskGroup() as group:
            for future in futures:
                group.create_task(asyncio.wait_for(future, 600))
    elif waits != "end of with":
        await futures[0]


async def hold_pool(method: str, waits: str, gate: Gate) -> None:
    if waits == "plain with":
        with ProcessPoolExecutor(2, mp_context=method) as pool:
            await await_in(waits, pool, gate)
    else:
        async with ProcessPoolExecutor(2, mp_context=method) as pool:
            await await_in(waits, pool, gate)


async def main(method: str, waits: str, gate: Gate) -> None:
    if waits == "in another task":
        task = asyncio.create_task(hold_pool(method, waits, gate))
        await asyncio.Event().wait()
        del task
    elif waits == "without with":
        await await_in(waits, ProcessPoolExecutor(2, mp_context=method), gate)
    else:
        await hold_pool(method, waits, gate)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        gate = new_gate(Path(directory))
        tell_when_ready(gate)
        try:
            asyncio.run(main(*sys.argv[1:3], gate))
        except KeyboardInterrupt:
            if not sys.argv[3:]:
                raise
            sys.stdout.write(f"workers {[pid for pid in set(gate.wait_arrivals(2)) if alive(pid)]}\n")
