"""Ends calls that take too long: wasmtime's epochs, counted while there are calls."""

from __future__ import annotations

import os
import threading
import time
import weakref

from wasmtime import Engine

CALL_MAX_S = 1.0
_TICK_S = 0.05
# The tick that is under way when a call begins may be nearly over.
CALL_TICKS = round(CALL_MAX_S / _TICK_S) + 1


class Ticker:
    """Counts the engine's epoch up from a thread of its own, which rests while nothing has been called for a while."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._called = False
        self._awake = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        # Threads do not survive a fork: the child starts its own one at its first call.
        this = weakref.ref(self)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=lambda: ticker._forget() if (ticker := this()) else None)

    def called(self) -> None:
        """A call begins."""
        # Told before looking whether the thread rests; the thread looks in the other order.
        self._called = True
        if not self._awake.is_set():
            self._wake()

    def _wake(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="rejoin-ticker", daemon=True)
                self._thread.start()
            self._awake.set()

    def _forget(self) -> None:
        self._awake, self._thread, self._starting = threading.Event(), None, threading.Lock()

    def _run(self) -> None:
        # Counted in ticks, as the deadline is: on a machine that makes them late, time alone would end before it.
        quiet = 0
        while True:
            self._awake.wait()
            time.sleep(_TICK_S)
            self._engine.increment_epoch()
            self._awake.clear()
            quiet = 0 if self._called else quiet + 1
            self._called = False
            if quiet < 2 * CALL_TICKS:
                self._awake.set()
