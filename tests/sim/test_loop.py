"""The event loop: asyncio's primitives on a virtual clock, and what it refuses."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import AsyncIterator

import pytest

from spinney.sim import Livelock, NotSimulated, SimLoop, SimulationError, Stalled


def run(main):  # type: ignore[no-untyped-def]
    return SimLoop().run_until_complete(main)


def test_time_costs_nothing() -> None:
    async def main() -> float:
        await asyncio.sleep(86_400 * 365)
        return asyncio.get_running_loop().time()

    began = time.process_time()
    assert run(main()) == 86_400 * 365
    assert time.process_time() - began < 1


def test_timers_run_in_the_order_of_their_times_then_of_their_making() -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        order: list[str] = []
        times = [0.5, 0.1, 0.5, 0.1004, 0.1001, 0.0, 7.0, -1.0, 0.1]
        for number, when in enumerate(times):
            loop.call_at(when, order.append, f"{when} {number}")
        await asyncio.sleep(10)
        wanted = sorted(range(len(times)), key=lambda n: (times[n], n))
        assert order == [f"{times[n]} {n}" for n in wanted]
        return order

    assert len(run(main())) == 9


def test_a_timer_set_by_a_timer_for_the_same_millisecond() -> None:
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        seen: list[float] = []

        def first() -> None:
            seen.append(loop.time())
            loop.call_at(1.0003, lambda: seen.append(loop.time()))
            loop.call_at(1.0001, lambda: seen.append(loop.time()))

        loop.call_at(1.0, first)
        loop.call_at(1.0002, lambda: seen.append(loop.time()))
        await asyncio.sleep(2)
        return seen

    assert run(main()) == [1.0, 1.0001, 1.0002, 1.0003]


def test_cancelled_timers_do_not_run_and_do_not_pile_up() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimLoop)
        for _ in range(200):
            for _ in range(1_000):
                loop.call_later(3_600, pytest.fail, "a cancelled timer ran").cancel()
            await asyncio.sleep(0.01)
        assert loop.waiting() < 50_000
        timer = loop.call_later(1, print)
        assert not timer.cancelled()
        assert timer.when() == loop.time() + 1
        timer.cancel()
        timer.cancel()
        assert timer.cancelled()
        loop.call_later(float("inf"), print)
        await asyncio.sleep(7_200)

    run(main())


def test_timeout_wait_for_and_shield() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await asyncio.Event().wait()
        assert loop.time() == 3
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(5), 1)
        assert loop.time() == 4
        inner = asyncio.create_task(asyncio.sleep(2, "kept"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(inner), 1)
        assert await inner == "kept"
        assert loop.time() == 6

    run(main())


def test_gather_wait_and_as_completed() -> None:
    async def main() -> None:
        assert await asyncio.gather(asyncio.sleep(2, "b"), asyncio.sleep(1, "a")) == ["b", "a"]
        tasks = [asyncio.create_task(asyncio.sleep(n, n)) for n in (3, 1, 2)]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert (len(done), len(pending)) == (1, 2)
        order = [await each for each in asyncio.as_completed(tasks)]
        assert order == [1, 2, 3]

    run(main())


def test_queue_lock_event_semaphore_condition_barrier() -> None:
    async def main() -> list[str]:
        seen: list[str] = []
        queue: asyncio.Queue[int] = asyncio.Queue(maxsize=1)
        lock = asyncio.Lock()
        event = asyncio.Event()
        semaphore = asyncio.Semaphore(2)
        condition = asyncio.Condition()
        barrier = asyncio.Barrier(3)

        async def worker(name: str) -> None:
            await barrier.wait()
            async with semaphore:
                async with lock:
                    await asyncio.sleep(1)
                await event.wait()
                seen.append(f"{name} {await queue.get()}")
                async with condition:
                    condition.notify_all()

        async with asyncio.TaskGroup() as group:
            for name in "abc":
                group.create_task(worker(name))
            await asyncio.sleep(10)
            event.set()
            for number in range(3):
                await queue.put(number)
            async with condition:
                await condition.wait_for(lambda: len(seen) == 3)
        return seen

    seen = run(main())
    assert sorted(row[0] for row in seen) == ["a", "b", "c"]
    assert [row[-1] for row in seen] == ["0", "1", "2"]
    assert run(main()) == seen


def test_a_task_group_cancels_its_tasks_in_the_order_of_their_making() -> None:
    async def main() -> list[int]:
        order: list[int] = []

        async def waits(number: int) -> None:
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                order.append(number)
                raise

        async def fails() -> None:
            await asyncio.sleep(1)
            raise ValueError("on purpose")

        async def whole() -> None:
            async with asyncio.TaskGroup() as group:
                for number in range(20):
                    group.create_task(waits(number))
                group.create_task(fails())

        with pytest.raises(ExceptionGroup) as caught:
            await whole()
        assert caught.group_contains(ValueError)
        return order

    assert run(main()) == list(range(20))


def test_a_set_of_tasks_has_one_order() -> None:
    async def main() -> list[str]:
        tasks = {asyncio.create_task(asyncio.sleep(1), name=f"n{n}") for n in range(50)}
        done, _ = await asyncio.wait(tasks)
        return [task.get_name() for task in done]

    assert run(main()) == run(main())


def test_context_variables_are_each_tasks_own() -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    async def main() -> None:
        async def sets(value: int) -> int:
            variable.set(value)
            await asyncio.sleep(1)
            return variable.get()

        variable.set(7)
        assert await asyncio.gather(sets(1), sets(2)) == [1, 2]
        told: list[int] = []
        asyncio.get_running_loop().call_later(1, lambda: told.append(variable.get()))
        variable.set(8)
        await asyncio.sleep(2)
        assert told == [7]

    run(main())


def test_an_async_generator_left_behind_is_closed() -> None:
    closed: list[bool] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            for number in range(10):
                yield number
        finally:
            closed.append(True)

    async def main() -> None:
        async for number in numbers():
            if number == 3:
                break
        await asyncio.sleep(1)
        assert closed == [True]

    run(main())


def test_a_stalled_world_says_who_waits_for_what() -> None:
    async def waits_for_nobody() -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        other = asyncio.create_task(asyncio.Event().wait(), name="listener")
        await asyncio.create_task(waits_for_nobody(), name="lonely")
        await other

    with pytest.raises(Stalled) as caught:
        run(main())
    said = str(caught.value)
    assert "3 task(s) wait" in said
    assert "'lonely' at test_loop.py" in said
    assert "waits_for_nobody; waits for a Future that nobody sets" in said
    assert "'listener'" in said
    assert "waits for the task 'lonely'" in said


def test_a_world_whose_clock_stands_still_is_found() -> None:
    async def main() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(Livelock, match="clock stands at 0"):
        run(main())


def test_events_that_call_each_other_at_one_instant_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("spinney.sim.loop.ROUNDS_AT_ONE_INSTANT", 10_000)
    loop = SimLoop()

    def again() -> None:
        loop.push(loop.now, again, ())

    loop.push(1.0, again, ())
    with pytest.raises(Livelock, match="clock stands at 1"):
        loop.run_until_time(2.0)


def test_an_error_in_a_callback_fails_the_run() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_later(1, lambda: 1 / 0)
        await asyncio.sleep(5)

    with pytest.raises(SimulationError, match="ZeroDivisionError"):
        run(main())


def test_an_error_in_a_task_that_nobody_awaits_fails_the_run() -> None:
    async def main() -> None:
        async def fails() -> None:
            raise ValueError("nobody hears")

        asyncio.create_task(fails())  # noqa: RUF006 (that is the point)
        await asyncio.sleep(5)

    with pytest.raises(SimulationError, match="nobody hears"):
        run(main())


def test_a_handler_of_ones_own_hears_errors_instead() -> None:
    heard: list[str] = []
    loop = SimLoop()
    loop.set_exception_handler(lambda _, context: heard.append(str(context["exception"])))

    async def main() -> None:
        loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(5)

    loop.run_until_complete(main())
    assert heard == ["division by zero"]


def test_the_error_of_the_main_task_is_raised_as_it_is() -> None:
    async def main() -> None:
        await asyncio.sleep(1)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        run(main())


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("add_reader", "callbacks"),
        ("add_signal_handler", "tasks"),
        ("subprocess_exec", "tasks"),
        ("sock_recv", "host.connect"),
        ("getaddrinfo", "host.resolve"),
        ("create_connection", "host.connect"),
        ("create_datagram_endpoint", "host.open_datagrams"),
        ("run_in_executor", "host.work"),
    ],
)
def test_what_has_no_meaning_is_refused_with_what_to_use(name: str, instead: str) -> None:
    loop = SimLoop()
    with pytest.raises(NotSimulated, match=f"no {name}.*{instead}"):
        getattr(loop, name)()


def test_to_thread_is_refused_with_what_to_use() -> None:
    async def main() -> None:
        await asyncio.to_thread(print)

    with pytest.raises(NotSimulated, match=r"host.work"):
        run(main())


def test_run_until_time_stops_the_clock_there() -> None:
    loop = SimLoop()
    seen: list[float] = []
    for when in (1.0, 2.0, 2.5, 3.0):
        loop.call_at(when, seen.append, when)
    loop.run_until_time(2.5)
    assert (loop.time(), seen) == (2.5, [1.0, 2.0, 2.5])
    loop.run_until_time(2.75)
    loop.call_at(2.8, seen.append, 2.8)
    loop.run_until_time(10)
    assert seen == [1.0, 2.0, 2.5, 2.8, 3.0]
    assert loop.time() == 10


def test_a_loop_does_not_run_inside_another() -> None:
    async def main() -> None:
        task = asyncio.sleep(1)
        try:
            with pytest.raises(RuntimeError, match="another event loop"):
                SimLoop().run_until_complete(task)
        finally:
            task.close()

    run(main())
