"""Coroutines made plain: from any thread, inside a loop, past Ctrl-C, fork and the end of the process."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import subprocess
import sys
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress

import pytest

from shoso.client import blocking
from shoso.client.blocking import iterate, run


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


async def fail() -> None:
    raise LookupError("as it was raised")


class Numbers:
    """An async iterator that knows whether it was closed."""

    closed = False

    async def count(self, stop: int):
        try:
            for number in range(stop):
                await asyncio.sleep(0)
                yield number
        finally:
            await asyncio.sleep(0)
            self.closed = True


def program(text: str) -> subprocess.CompletedProcess[str]:
    """A Python of its own, every warning shown; what it leaves behind ends with it."""
    text = "from shoso.client.blocking import *\n" + text
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", text]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            out, err = process.communicate(timeout=60)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def test_a_coroutine_returns_and_raises_as_a_function_would():
    assert run(double(2)) == 4
    with pytest.raises(LookupError, match="as it was raised"):
        run(fail())


def test_a_time_out_of_a_coroutine_is_none_of_the_wait_for_it():
    async def wait(seconds: float) -> str:
        await asyncio.sleep(seconds)
        raise TimeoutError("of its own")

    for seconds in (0.0, 2.5 * blocking.HEARING):
        with pytest.raises(TimeoutError, match="of its own"):
            run(wait(seconds))


def test_all_threads_share_one_loop():
    async def loop() -> int:
        await asyncio.sleep(0.01)
        return id(asyncio.get_running_loop())

    with ThreadPoolExecutor(8) as threads:
        loops = set(threads.map(lambda _: run(loop()), range(32)))
    assert len(loops) == 1


async def test_it_works_inside_a_running_loop():
    assert run(double(2)) == 4
    called = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(lambda: called.set_result(run(double(3))))
    assert await called == 6


def test_a_call_from_the_loop_itself_is_refused_rather_than_waited_for():
    async def callback() -> None:
        run(double(1))

    with pytest.raises(RuntimeError, match="call it from another thread"):
        run(callback())
    assert run(double(2)) == 4


def test_a_coroutine_sees_the_context_of_its_caller():
    variable = contextvars.ContextVar("variable", default="unset")

    async def seen() -> str:
        return variable.get()

    variable.set("the caller's")
    assert run(seen()) == "the caller's"


def test_iterating_gives_each_item_and_closes():
    numbers = Numbers()
    assert list(iterate(numbers.count(5))) == [0, 1, 2, 3, 4]
    assert numbers.closed


def test_who_stops_iterating_closes():
    numbers = Numbers()
    for number in iterate(numbers.count(10**9)):
        if number == 3:
            break
    assert numbers.closed


def test_an_error_while_iterating_is_raised_where_it_came():
    async def broken():
        yield 1
        raise LookupError("behind the first")

    items = iterate(broken())
    assert next(items) == 1
    with pytest.raises(LookupError, match="behind the first"):
        next(items)


@pytest.mark.parametrize("gets", ["os.kill, (os.getpid(), ", "signal.pthread_kill, (threading.get_ident(), "])
def test_ctrl_c_cancels_and_waits_until_all_is_cleaned_up(gets):
    """Whichever thread the system gives the signal to, be it the loop's."""
    done = program(
        "import asyncio, os, signal, threading\n"
        "async def work():\n"
        "    try:\n"
        f"        threading.Timer(0.2, {gets}signal.SIGINT)).start()\n"
        "        await asyncio.sleep(60)\n"
        "    finally:\n"
        "        await asyncio.sleep(0.3)\n"
        "        print('cleaned up', flush=True)\n"
        "try:\n"
        "    run(work())\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
        "async def again():\n"
        "    return 'and on'\n"
        "print(run(again()))\n"
    )
    assert (done.stdout.splitlines(), done.stderr) == (["cleaned up", "interrupted", "and on"], "")


@pytest.mark.parametrize("used", [True, False])
def test_a_child_starts_a_loop_of_its_own_and_leaves_the_parents_alone(used):
    done = program(
        "import asyncio, os, warnings\n"
        "warnings.simplefilter('ignore', DeprecationWarning)\n"
        "async def pid():\n"
        "    await asyncio.sleep(0.01)\n"
        "    return os.getpid()\n"
        f"assert {used} is False or run(pid()) == os.getpid()\n"
        "child = os.fork()\n"
        "assert run(pid()) == os.getpid()\n"
        "if child:\n"
        "    print(os.waitpid(child, 0)[1], run(pid()) == os.getpid())\n"
    )
    assert (done.stdout.splitlines(), done.stderr) == (["0 True"], "")


def test_what_is_under_way_at_the_end_is_cancelled_and_cleans_up():
    done = program(
        "import asyncio, threading\n"
        "begun = threading.Event()\n"
        "async def work():\n"
        "    try:\n"
        "        begun.set()\n"
        "        await asyncio.sleep(60)\n"
        "    finally:\n"
        "        await asyncio.sleep(0.1)\n"
        "        print('cleaned up', flush=True)\n"
        "def call():\n"
        "    try:\n"
        "        run(work())\n"
        "    except BaseException:\n"
        "        pass\n"
        "threading.Thread(target=call, daemon=True).start()\n"
        "begun.wait()\n"
    )
    assert (done.stdout, done.stderr, done.returncode) == ("cleaned up\n", "", 0)


def test_a_handler_of_the_end_may_still_call_and_find_a_host():
    done = program(
        "import asyncio, atexit\n"
        "async def address():\n"
        "    return len(await asyncio.get_running_loop().getaddrinfo('localhost', 80)) > 0\n"
        "async def thread():\n"
        "    await asyncio.to_thread(lambda: None)\n"
        "run(thread())\n"
        "atexit.register(lambda: print(run(address())))\n"
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_what_blocks_is_done_also_by_a_handler_of_the_end():
    """Python's own pool takes nothing any more by then."""
    done = program(
        "import asyncio, atexit\n"
        "run(asyncio.to_thread(lambda: None))\n"
        "def late():\n"
        "    print(run(asyncio.to_thread(lambda: 'done')))\n"
        "    try:\n"
        "        run(asyncio.to_thread(int, 'x'))\n"
        "    except ValueError:\n"
        "        print('raised')\n"
        "atexit.register(late)\n"
    )
    assert (done.stdout, done.stderr) == ("done\nraised\n", "")


def test_an_iteration_that_nobody_ends_ends_with_the_process():
    done = program(
        "async def count():\n    while True:\n        yield 1\nitems = iterate(count())\nprint(next(items))\n"
    )
    assert (done.stdout, done.stderr, done.returncode) == ("1\n", "", 0)


def test_a_process_that_calls_nothing_starts_no_thread():
    done = program("import sys, threading\nprint(threading.active_count(), 'uvloop' in sys.modules)\n")
    assert (done.stdout, done.stderr) == ("1 False\n", "")


def test_an_interrupt_before_the_start_leaves_nothing_behind():
    job = blocking._Job(double(1))
    job.cancel()
    job.start()
    with pytest.raises(CancelledError):
        job.outcome.result(timeout=10)
