"""Runs a recorded session trace: `tests/cases/sessions/README.md` says what is in one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wasmtime.component import ResourceAny

from rejoin_core.boundary import Case, Handle, List, Option, Record, Result, Shape, Variant
from rejoin_core.component import Instance
from rejoin_core.contract import EXPORTS, IMPORTS

INTERFACES = {"session": "session", "aggregator": "content", "content": "content", "translator": "translate"}


def text_of(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Player:
    """One fresh instance, and the handles that it gave."""

    def __init__(self) -> None:
        self._instance = Instance(self._hear, self._now_ns)
        self._handles: dict[str, ResourceAny] = {}
        self._made = {"session": 0, "aggregator": 0, "translator": 0}
        self._imports: list[dict[str, Any]] = []
        self._now: int | None = None
        self._looked = False

    def play(self, line: dict[str, Any]) -> dict[str, Any]:
        """The line as this host would have recorded it."""
        self._imports, self._now, self._looked = [], line["now"], False
        out = self._call(line["call"], line["in"])
        now = line["now"] if self._looked else None
        return {"call": line["call"], "in": line["in"], "now": now, "imports": self._imports, "out": out}

    def _call(self, call: str, given: dict[str, Any]) -> Any:
        kind, name = call.split(".")
        if name == "drop":
            return self._instance.drop(self._handles.pop(given["self"]))
        interface = INTERFACES[kind]
        names = (f"[method]{call}", f"[static]{call}", f"[{name}]{kind}", name)
        full = next(one for one in names if one in EXPORTS[interface])
        function = EXPORTS[interface][full]
        if list(given) != list(function.parameters):
            raise ValueError(f"{call} takes {list(function.parameters)}, not {list(given)}")
        arguments = [self._inward(shape, given[parameter]) for parameter, shape in function.parameters.items()]
        answer = self._instance.call(interface, full, *arguments)
        return self._outward(function.returns, answer)

    def _hear(self, call: str, arguments: Callable[[], list[Any]]) -> None:
        interface, name = call.split(".")
        parameters = IMPORTS[interface][name].parameters.items()
        told = {parameter: self._outward(shape, value) for (parameter, shape), value in zip(parameters, arguments())}
        self._imports.append({"call": call, "in": told})

    def _now_ns(self) -> int:
        self._looked = True
        if self._now is None:
            raise ValueError("the component asks for the time, and the trace has none")
        return self._now * 1_000_000

    def _inward(self, shape: Shape, value: Any) -> Any:
        match shape:
            case Option():
                return None if value is None else self._inward(shape.of, value)
            case List():
                return [self._inward(shape.of, one) for one in value]
            case Record():
                if list(value) != list(shape.fields):
                    raise ValueError(f"a record of {list(shape.fields)} is wanted, not {value}")
                return tuple(self._inward(of, value[name]) for name, of in shape.fields.items())
            case Variant():
                of = shape.cases[value["tag"]]
                return Case(value["tag"], self._inward(of, value["val"]) if of else None)
            case Handle():
                return self._handles[value]
        return value

    def _outward(self, shape: Shape | None, value: Any) -> Any:
        match shape:
            case Option():
                return None if value is None else self._outward(shape.of, value)
            case List():
                return [self._outward(shape.of, one) for one in value]
            case Record():
                return {name: self._outward(of, one) for (name, of), one in zip(shape.fields.items(), value)}
            case Variant():
                of = shape.cases[value.tag]
                return {"tag": value.tag, **({"val": self._outward(of, value.value)} if of else {})}
            case Result():
                return {value.tag: self._outward(shape.ok if value.tag == "ok" else shape.err, value.value)}
            case Handle():
                self._made[shape.kind] += 1
                name = f"{shape.kind[0]}{self._made[shape.kind]}"
                self._handles[name] = value
                return name
        return value


def run(path: Path) -> int:
    """Plays every call of a trace: their number. Errors: `AssertionError` at the first byte that differs."""
    text = path.read_bytes().decode()
    if not text.endswith("\n"):
        raise AssertionError(f"{path.name} does not end with a line break")
    first, *lines = text[:-1].split("\n")
    head = json.loads(first)
    if head["trace"] != 1 or head["world"] != "rejoin:streams/engine@0.1.0" or not lines:
        raise AssertionError(f"{path.name} is not a trace of this version: {first}")
    player = Player()
    for number, wanted in enumerate(lines, 2):
        try:
            got = text_of(player.play(json.loads(wanted)))
        except Exception as error:
            raise AssertionError(f"{path.name}, line {number}: {error!r}\n  wanted {wanted}") from error
        if got != wanted:
            raise AssertionError(f"{path.name}, line {number}\n  wanted {wanted}\n  got    {got}")
    return len(lines)
