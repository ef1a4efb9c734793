"""What is under every test: an end. One that waits for ever fails by its name, and the others go on."""

import asyncio
import faulthandler
import inspect
import io
import signal
import sys
import unittest
from collections.abc import Awaitable, Callable
from functools import wraps
from types import MethodType
from typing import Any


# Of one wait, for what comes at once on a machine that has nothing else to do.
PATIENCE_S = 30.0


class Limited(unittest.TestCase):
    """Fails after `limit_s`, which is much longer than it takes on a machine that is busy."""

    limit_s = 120.0
    # Then, where even that does not help: all stacks, and the end of the process.
    more_s = 60.0

    def run(self, result: "unittest.TestResult | None" = None) -> "unittest.TestResult | None":
        faulthandler.dump_traceback_later(self.limit_s + self.more_s, exit=True, file=sys.__stderr__)
        try:
            return self.run_limited(result)
        finally:
            faulthandler.cancel_dump_traceback_later()

    def run_limited(self, result: "unittest.TestResult | None") -> "unittest.TestResult | None":
        def late(*_: Any) -> None:
            raise AssertionError(self.too_long())

        before = signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, self.limit_s)
        try:
            return super().run(result)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def too_long(self) -> str:
        return f"{self.id()} did not end within {self.limit_s:g} s"


class Case(Limited, unittest.IsolatedAsyncioTestCase):
    """The same on an event loop, for the test, what sets it up and each that cleans up: the error says what waits where."""

    def __init__(self, name: str = "runTest") -> None:
        super().__init__(name)
        for part in (name, "asyncSetUp", "asyncTearDown"):
            work = getattr(self, part, None)
            if inspect.iscoroutinefunction(work):
                # A method, as unittest expects it of one that is named.
                setattr(self, part, MethodType(self._limited(getattr(type(self), part)), self))

    def addAsyncCleanup(self, work: Callable[..., Awaitable[Any]], /, *given: Any, **more: Any) -> None:
        super().addAsyncCleanup(self._limited(work), *given, **more)

    def run_limited(self, result: "unittest.TestResult | None") -> "unittest.TestResult | None":
        # No signal: it would end the loop, and nobody its tasks.
        return unittest.IsolatedAsyncioTestCase.run(self, result)

    def _limited(self, work: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @wraps(work)
        async def limited(*given: Any, **more: Any) -> Any:
            task = asyncio.ensure_future(work(*given, **more))
            try:
                _, late = await asyncio.wait({task}, timeout=self.limit_s)
            except asyncio.CancelledError:
                task.cancel()
                raise
            if late:
                said = io.StringIO()
                for one in asyncio.all_tasks():
                    one.print_stack(file=said)
                task.cancel()
                await asyncio.wait({task}, timeout=1.0)
                raise AssertionError(f"{self.too_long()}\n{said.getvalue()}")
            return task.result()

        return limited
