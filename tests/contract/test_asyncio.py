"""asyncio over a pool, with nothing but what asyncio has."""

from __future__ import annotations

import asyncio

import pytest

from tests import tasks
from tests.contract.face import Face
from tests.support import HANG, Gate


def test_run_in_executor(any_face: Face) -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        with any_face.pool() as pool:
            calls = [loop.run_in_executor(pool, tasks.square, i) for i in range(50)]
            return await asyncio.gather(*calls)

    assert asyncio.run(main()) == [i * i for i in range(50)]


def test_an_error_arrives(face: Face) -> None:
    async def main() -> None:
        with face.pool() as pool:
            await asyncio.get_running_loop().run_in_executor(pool, tasks.raise_value_error, "wrong")

    with pytest.raises(ValueError, match=r"^wrong$"):
        asyncio.run(main())


def test_wrap_future(face: Face) -> None:
    async def main() -> int:
        with face.pool() as pool:
            return await asyncio.wrap_future(pool.submit(tasks.square, 7))

    assert asyncio.run(main()) == 49


def test_task_group(face: Face) -> None:
    async def call(pool: object, x: int) -> int:
        return await asyncio.get_running_loop().run_in_executor(pool, tasks.square, x)  # type: ignore[arg-type]

    async def main() -> list[int]:
        with face.pool() as pool:
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(call(pool, i)) for i in range(10)]
            return [task.result() for task in running]

    assert asyncio.run(main()) == [i * i for i in range(10)]


def test_the_loop_goes_on_while_a_task_runs(face: Face, gate: Gate) -> None:
    async def main() -> str:
        with face.pool(1) as pool:
            call = asyncio.get_running_loop().run_in_executor(pool, tasks.stop_at, gate, "done")
            # Only a loop that still runs comes to open the gate.
            await asyncio.sleep(0)
            gate.open()
            return await asyncio.wait_for(call, HANG)

    assert asyncio.run(main()) == "done"


def test_cancelling_a_call_cancels_a_task_that_has_not_begun(face: Face, gate: Gate) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with face.pool(1) as pool:
            first = loop.run_in_executor(pool, tasks.stop_at, gate, "ran")
            await asyncio.to_thread(gate.wait_arrivals)
            futures = [pool.submit(tasks.square, i) for i in range(10)]
            call = asyncio.wrap_future(futures[-1])
            call.cancel()
            await asyncio.wait([call])
            cancelled = futures[-1].cancelled()
            gate.open()
            assert cancelled
            assert await first == "ran"

    asyncio.run(main())


def test_a_timeout_leaves_the_pool_usable(face: Face, gate: Gate) -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        with face.pool(1) as pool:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await loop.run_in_executor(pool, tasks.stop_at, gate)
            gate.open()
            return await loop.run_in_executor(pool, tasks.square, 6)

    assert asyncio.run(main()) == 36


def test_a_process_pool_is_no_default_executor(face: Face) -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(face.pool())

    with pytest.raises(TypeError, match="ThreadPoolExecutor"):
        asyncio.run(main())
