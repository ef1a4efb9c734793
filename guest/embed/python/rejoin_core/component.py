"""The component in this process: compiled once; each session, fold and translator has an instance of its own.

A trap ends one instance. What it held was a cache (a session), or goes with whoever asked (a fold, a body).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from ctypes import CFUNCTYPE, c_void_p, cast, create_string_buffer
from functools import cache
from pathlib import Path
from typing import Any

from wasmtime import Config, Engine, Store, WasmtimeError
from wasmtime.component import Component, Linker, ResourceAny

from .boundary import Case, Function, ffi
from .contract import EXPORTS, IMPORTS, datetime
from .deadline import CALL_MAX_S, CALL_TICKS, Ticker

MEMORY_BYTES_MAX = 64 << 20


class Refused(Exception):
    """An expected answer: nothing has changed.

    `reason`: a case of `refusal` in `wit/types.wit`; `value`: what it holds.
    """

    def __init__(self, reason: str, value: Any = None) -> None:
        super().__init__(reason if value is None else f"{reason}: {value}")
        self.reason = reason
        self.value = value


class Trapped(Exception):
    """The component failed on a call, or wanted more memory than it may have: nothing of the call was stored.

    `taken`: records of the same append that are stored all the same, because they went before, in calls of their own.
    """

    taken: int = 0


class LimitExceeded(Trapped):
    """A call took more than a second. The generation ends in `error`."""


class Overloaded(Exception):
    """A bound of this process is reached, the message says which: nothing has changed, try again later."""

    taken: int = 0


class Instance:
    """One instance with a memory of its own, and the functions of `contract.py`.

    `asked` hears what the component calls meanwhile: a name ("store.append"), and a function that gives the arguments,
    good for as long as it is heard; `now_ns` is its clock. Both return at once, on the thread that calls. Instances of
    different threads do not know of each other; one instance is called by one thread at a time.
    """

    def __init__(
        self,
        asked: Callable[[str, Callable[[], list[Any]]], None] = lambda _name, _arguments: None,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._parts = _parts()
        self.dead = False
        self._asked, self._now_ns = asked, now_ns
        self._functions: dict[str, Any] = {}
        self._busy = threading.Lock()
        self._store = Store(self._parts.engine)
        self._store.set_limits(memory_size=MEMORY_BYTES_MAX)
        self._store.set_epoch_deadline(CALL_TICKS)
        self._parts.ticker.called()
        self._instance = self._parts.linker.instantiate(self._store, self._parts.component)

    def call(self, interface: str, name: str, *arguments: Any) -> Any:
        """Runs a function. Errors: `Trapped`, then the instance is dead; `TypeError` and `ValueError` of arguments."""
        typed = EXPORTS[interface][name]
        with self._inside():
            function = self._functions.get(name) or self._find(interface, name)
            error, answer = typed.call(self._store._context(), function, arguments)
            if error:
                raise self._trapped(error)
            return answer

    def drop(self, resource: ResourceAny) -> None:
        """Gives a resource back to the component. Nobody needs to who drops the whole instance."""
        with self._inside():
            error = ffi.wasmtime_component_resource_any_drop(self._store._context(), resource.ptr())
            if error:
                raise self._trapped(error)

    def _inside(self) -> _Inside:
        if self.dead:
            raise Trapped("the instance has trapped before")
        return _Inside(self)

    def _trapped(self, error: Any) -> Trapped:
        self.dead = True
        trapped = _trapped(WasmtimeError._from_ptr(error))
        trapped.__cause__ = _calling.failure
        return trapped

    def _find(self, interface: str, name: str) -> Any:
        inner = self._instance.get_export_index(self._store, f"rejoin:streams/{interface}@0.1.0")
        index = self._instance.get_export_index(self._store, name, inner) if inner else None
        function = self._instance.get_func(self._store, index) if index else None
        if function is None:
            raise LookupError(f"the component has no {interface} {name}: it is of another version than this package")
        self._functions[name] = function._func
        return function._func

    def enter(self) -> Instance | None:
        """A call begins on this thread: the instance that is called on it already, if an import calls another one."""
        if not self._busy.acquire(blocking=False):
            raise RuntimeError("called by two threads at once: give each thread its own session, fold or translator")
        outer: Instance | None = getattr(_calling, "instance", None)
        _calling.instance, _calling.failure = self, None
        self._store.set_epoch_deadline(CALL_TICKS)
        self._parts.ticker.called()
        return outer

    def leave(self, outer: Instance | None) -> None:
        _calling.instance, _calling.failure = outer, None
        self._busy.release()

    def heard(self, name: str, arguments: Callable[[], list[Any]]) -> None:
        self._asked(name, arguments)

    def now(self) -> tuple[int, int]:
        return divmod(self._now_ns(), 1_000_000_000)


class _Inside:
    """The time of one call."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    def __enter__(self) -> None:
        self._outer = self._instance.enter()

    def __exit__(self, *_error: object) -> None:
        self._instance.leave(self._outer)


def checked(answer: Case) -> Any:
    """What a result holds. Errors: `Refused`."""
    if answer.tag == "ok":
        return answer.value
    raise refused(answer.value)


def refused(why: Case | str) -> Refused:
    return Refused(why.tag, why.value) if isinstance(why, Case) else Refused("invalid", why)


def _trapped(error: WasmtimeError) -> Trapped:
    text = str(error)
    if "wasm trap: interrupt" in text:
        return LimitExceeded(f"a call took more than {CALL_MAX_S:g} s")
    # What is before it are addresses in the component.
    return Trapped(text.rsplit("Caused by:", 1)[-1].strip())


# Imports are called on the thread that calls an export, and return at once: whose call it is, is known.
_calling = threading.local()


def _import(run: Callable[[Instance, Any, Any], None]) -> Any:
    """A callback of wasmtime: environment, context, type, arguments and results with their numbers."""

    def called(_env: Any, _context: Any, _type: Any, slots: Any, _count: int, results: Any, _results: int) -> int:
        try:
            run(_calling.instance, slots, results)
            return 0
        except BaseException as failure:
            _calling.failure = failure
            return int(cast(WasmtimeError("an import failed")._consume(), c_void_p).value or 0)

    return ffi.wasmtime_component_func_callback_t(called)


def _hears(interface: str, name: str, function: Function) -> Any:
    full = f"{interface}.{name}"
    return _import(lambda instance, slots, _: instance.heard(full, lambda: function.arguments(slots)))


# Kept for as long as the process: the engine calls them.
_CALLBACKS = {
    f"rejoin:streams/{interface}@0.1.0": {name: _hears(interface, name, one) for name, one in functions.items()}
    for interface, functions in IMPORTS.items()
}
_CALLBACKS["wasi:clocks/wall-clock@0.2.0"] = {
    "now": _import(lambda instance, _, results: datetime.write(results[0], instance.now()))
}
_CALLBACKS["rejoin:streams/types@0.1.0"] = {}
_NO_FINALIZER = cast(0, CFUNCTYPE(None, c_void_p))


def component_path(named: str | None) -> Path:
    """`named` (by `REJOIN_COMPONENT`), or the file in this package, or the one that `cargo xtask component` writes."""
    here = Path(__file__).resolve().parent
    built = [folder / "target" / "rejoin.wasm" for folder in here.parents[3:4]]
    places = [Path(named)] if named else [here / "rejoin.wasm", *built]
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(
        f"no component at {' or '.join(map(str, places))}: run `cargo xtask component` in a checkout,"
        " and set REJOIN_COMPONENT to the file that it writes"
    )


class _Parts:
    def __init__(self, path: Path) -> None:
        config = Config()
        try:
            config.cache = True
        except WasmtimeError:
            # There is no home to write to, as in many containers: each process compiles for itself.
            pass
        config.epoch_interruption = True
        self.engine = Engine(config)
        self.ticker = Ticker(self.engine)
        self.component = Component.from_file(self.engine, str(path))
        self.linker = Linker(self.engine)
        with self.linker.root() as root:
            for interface, callbacks in _CALLBACKS.items():
                with root.add_instance(interface) as instance:
                    for name, callback in callbacks.items():
                        add = ffi.wasmtime_component_linker_instance_add_func
                        raw = name.encode()
                        error = add(instance.ptr(), create_string_buffer(raw), len(raw), callback, None, _NO_FINALIZER)
                        if error:
                            raise WasmtimeError._from_ptr(error)


_one = threading.Lock()


def _unlock() -> None:
    global _one
    _one = threading.Lock()


if hasattr(os, "register_at_fork"):
    # The thread that held it is not in the child.
    os.register_at_fork(after_in_child=_unlock)


def _parts() -> _Parts:
    # The first of several threads compiles, the others wait for it.
    with _one:
        return _compiled(os.environ.get("REJOIN_COMPONENT"))


@cache
def _compiled(named: str | None) -> _Parts:
    return _Parts(component_path(named))
