"""A test that hangs fails by itself, with its name, however it waits."""

import asyncio
import threading
import unittest
from contextlib import suppress

from limits import Case, Limited


class OnALoop(Case):
    limit_s = 0.1

    async def hangs(self) -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    async def passes(self) -> None:
        pass

    async def hangs_at_its_end(self) -> None:
        self.addAsyncCleanup(asyncio.Event().wait)


class InAThread(Limited):
    limit_s = 0.1

    def hangs(self) -> None:
        threading.Event().wait()

    def passes(self) -> None:
        pass


class Limits(unittest.TestCase):
    def test_one_that_hangs_fails_with_its_name_and_the_next_one_runs(self) -> None:
        for case in (OnALoop("hangs"), OnALoop("hangs_at_its_end"), InAThread("hangs")):
            with self.subTest(case.id()):
                result = unittest.TestResult()
                case.run(result)
                self.assertEqual(len(result.failures), 1, result)
                self.assertIn(f"{case.id()} did not end within 0.1 s", result.failures[0][1])
                next_one = type(case)("passes")
                next_one.limit_s = 60.0
                next_one.run(result)
                self.assertEqual((len(result.failures), result.errors, result.testsRun), (1, [], 2))


if __name__ == "__main__":
    unittest.main()
