"""How values cross into the component and back, over wasmtime's C interface.

A record is a tuple of its fields in order, a list a list, an enum a string, a variant a `Case`, a result a `Case` "ok"
or "err", what is absent None. wasmtime's own conversions ask the component for every type on every call, which costs a
millisecond for each append, and share a set between threads; here the types are written down once (`contract.py`).
"""

from __future__ import annotations

from ctypes import byref, memmove, memset, sizeof, string_at
from typing import Any, NamedTuple, Protocol, cast

from wasmtime import _ffi
from wasmtime.component import ResourceAny

ffi = cast(Any, _ffi)

U32, U64, STRING, LIST, RECORD, VARIANT, ENUM, OPTION, RESULT, RESOURCE = 6, 8, 12, 13, 14, 16, 17, 18, 19, 21

Value = ffi.wasmtime_component_val_t
VALUE_BYTES = sizeof(Value)
ENTRY_BYTES = sizeof(ffi.wasmtime_component_valrecord_entry)
_new_bytes = ffi.wasm_byte_vec_new_uninitialized
_call = ffi.wasmtime_component_func_call
_delete = ffi.wasmtime_component_val_delete


class Case(NamedTuple):
    """A case of a variant or result, and what it carries."""

    tag: str
    value: Any = None


class Shape(Protocol):
    """A type of the contract. `slot`: a `wasmtime_component_val_t`, zero before `write`; `read` leaves it as it is."""

    def write(self, slot: Any, value: Any) -> None:
        """Errors: `TypeError`, `ValueError`; the slot can be deleted even then."""
        ...

    def read(self, slot: Any) -> Any: ...


def _put(into: Any, data: bytes) -> None:
    _new_bytes(byref(into), len(data))
    memmove(into.data, data, len(data))


def _expect(slot: Any, kind: int) -> None:
    if slot.kind != kind:
        raise TypeError(f"the component gave a value of kind {slot.kind}, not {kind}: it is of another contract")


class Number:
    """An unsigned integer."""

    def __init__(self, kind: int, bits: int) -> None:
        self._kind, self._bits, self._name = kind, bits, f"u{bits}"

    def write(self, slot: Any, value: Any) -> None:
        if not isinstance(value, int):
            raise TypeError(f"a whole number is wanted, not {value!r}")
        if not 0 <= value < 1 << self._bits:
            raise ValueError(f"{value} is not within 0 and 2**{self._bits}")
        slot.kind = self._kind
        setattr(slot.of, self._name, value)

    def read(self, slot: Any) -> int:
        _expect(slot, self._kind)
        return cast(int, getattr(slot.of, self._name))


class Text:
    def write(self, slot: Any, value: Any) -> None:
        if not isinstance(value, str):
            raise TypeError(f"text is wanted, not {type(value).__name__}")
        _put(slot.of.string, value.encode())
        slot.kind = STRING

    def read(self, slot: Any) -> str:
        _expect(slot, STRING)
        text = slot.of.string
        return string_at(text.data, text.size).decode()


class Enum:
    def __init__(self, *names: str) -> None:
        self.names = names
        self._known = {name.encode(): name for name in names}

    def write(self, slot: Any, value: Any) -> None:
        if value not in self.names:
            raise ValueError(f"{value!r} is none of {', '.join(self.names)}")
        _put(slot.of.enumeration, value.encode())
        slot.kind = ENUM

    def read(self, slot: Any) -> str:
        _expect(slot, ENUM)
        text = slot.of.enumeration
        return self._known[string_at(text.data, text.size)]


class Record:
    def __init__(self, **fields: Shape) -> None:
        self.fields = {name.replace("_", "-"): shape for name, shape in fields.items()}
        self._shapes = list(enumerate(self.fields.values()))

    def write(self, slot: Any, value: Any) -> None:
        if len(value) != len(self.fields):
            raise TypeError(f"{len(self.fields)} fields are wanted: {', '.join(self.fields)}")
        record = slot.of.record
        ffi.wasmtime_component_valrecord_new_uninit(byref(record), len(value))
        memset(record.data, 0, ENTRY_BYTES * len(value))
        slot.kind = RECORD
        for at, (name, shape) in enumerate(self.fields.items()):
            entry = record.data[at]
            _put(entry.name, name.encode())
            shape.write(entry.val, value[at])

    def read(self, slot: Any) -> tuple[Any, ...]:
        _expect(slot, RECORD)
        data = slot.of.record.data
        return tuple([shape.read(data[at].val) for at, shape in self._shapes])


class List:
    def __init__(self, of: Shape) -> None:
        self.of = of

    def write(self, slot: Any, value: Any) -> None:
        values = list(value)
        target = slot.of.list
        ffi.wasmtime_component_vallist_new_uninit(byref(target), len(values))
        memset(target.data, 0, VALUE_BYTES * len(values))
        slot.kind = LIST
        for at, one in enumerate(values):
            self.of.write(target.data[at], one)

    def read(self, slot: Any) -> list[Any]:
        _expect(slot, LIST)
        found, read = slot.of.list, self.of.read
        data = found.data
        return [read(data[at]) for at in range(found.size)]


def _boxed(shape: Shape, value: Any) -> Any:
    inner = Value()
    try:
        shape.write(inner, value)
    except BaseException:
        _delete(byref(inner))
        raise
    return ffi.wasmtime_component_val_new(byref(inner))


class Option:
    def __init__(self, of: Shape) -> None:
        self.of = of

    def write(self, slot: Any, value: Any) -> None:
        if value is not None:
            slot.of.option = _boxed(self.of, value)
        slot.kind = OPTION

    def read(self, slot: Any) -> Any:
        _expect(slot, OPTION)
        some = slot.of.option
        return self.of.read(some.contents) if some else None


class Variant:
    """Its cases, each with the shape of what it carries."""

    def __init__(self, **cases: Shape | None) -> None:
        self.cases = {name.replace("_", "-"): shape for name, shape in cases.items()}

    def write(self, slot: Any, value: Any) -> None:
        if value.tag not in self.cases:
            raise ValueError(f"{value.tag!r} is none of {', '.join(self.cases)}")
        shape = self.cases[value.tag]
        boxed = _boxed(shape, value.value) if shape else None
        _put(slot.of.variant.discriminant, value.tag.encode())
        if boxed:
            slot.of.variant.val = boxed
        slot.kind = VARIANT

    def read(self, slot: Any) -> Case:
        _expect(slot, VARIANT)
        found = slot.of.variant
        tag = string_at(found.discriminant.data, found.discriminant.size).decode()
        shape = self.cases[tag]
        return Case(tag, shape.read(found.val.contents) if shape else None)


class Result:
    """Only comes out."""

    def __init__(self, ok: Shape | None, err: Shape) -> None:
        self.ok, self.err = ok, err

    def write(self, slot: Any, value: Any) -> None:
        raise TypeError("no function takes a result")

    def read(self, slot: Any) -> Case:
        _expect(slot, RESULT)
        found = slot.of.result
        tag, shape = ("ok", self.ok) if found.is_ok else ("err", self.err)
        return Case(tag, shape.read(found.val.contents) if shape else None)


class Handle:
    """A resource: goes in borrowed, comes out owned. `kind`: its name."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def write(self, slot: Any, value: Any) -> None:
        if not isinstance(value, ResourceAny):
            raise TypeError(f"a {self.kind} is wanted, not {value!r}")
        # Lent, not given: such a slot is never deleted.
        slot.of.resource = value.ptr()
        slot.kind = RESOURCE

    def read(self, slot: Any) -> ResourceAny:
        _expect(slot, RESOURCE)
        return ResourceAny._from_ptr(ffi.wasmtime_component_resource_any_clone(slot.of.resource))


class Function:
    """A function of the contract: parameters by name, and what it returns."""

    def __init__(self, returns: Shape | None = None, /, **parameters: Shape) -> None:
        self.returns = returns
        self.parameters = {name.replace("_", "-"): shape for name, shape in parameters.items()}
        self._shapes = list(self.parameters.values())
        self._slots = Value * len(self._shapes)
        # What lives in the slot alone needs no deletion, and each one costs.
        self._owning = [at for at, shape in enumerate(self._shapes) if not isinstance(shape, (Number, Handle))]
        self._gives = returns is not None and not isinstance(returns, Number)

    def call(self, context: Any, function: Any, arguments: tuple[Any, ...]) -> tuple[Any, Any]:
        """Calls `function`: the error, or null, and what it returned. Errors: an argument of another shape."""
        shapes, returns = self._shapes, self.returns
        if len(arguments) != len(shapes):
            raise TypeError(f"{len(shapes)} arguments are wanted: {', '.join(self.parameters)}")
        slots, result = self._slots(), Value()
        try:
            for at, shape in enumerate(shapes):
                shape.write(slots[at], arguments[at])
            if returns is None:
                return _call(byref(function), context, slots, len(shapes), None, 0), None
            error = _call(byref(function), context, slots, len(shapes), byref(result), 1)
            return error, None if error else returns.read(result)
        finally:
            if self._gives:
                _delete(byref(result))
            for at in self._owning:
                _delete(byref(slots[at]))

    def arguments(self, slots: Any) -> list[Any]:
        """What the component gave to an import."""
        return [shape.read(slots[at]) for at, shape in enumerate(self._shapes)]


