"""From a model provider's response body, taken as it is, to records."""

from __future__ import annotations

import codecs
from typing import Literal, NamedTuple

from .component import Instance, Refused

Dialect = Literal["events", "openai-chat", "openai-responses", "anthropic-messages"]

LINE_BYTES_MAX = 8 << 20


class BadChunk(NamedTuple):
    """A chunk that is not what the dialect says. `line`: of the body, from 1."""

    line: int
    reason: str


class Translated(NamedTuple):
    """Records, one a line. `bad`: a line that could not be read; nothing from there on was taken."""

    records: str
    bad: BadChunk | None


class Translator:
    """One body in progress, server-sent events in one of the dialects. One thread at a time."""

    def __init__(self, dialect: Dialect) -> None:
        self._instance = Instance()
        self._translator = self._instance.call("translate", "[constructor]translator", dialect)

    def push(self, lines: str, index_at_least: int = 0) -> Translated:
        """Takes whole lines. Run steps get an `index` of at least this: `Streams.next_index`."""
        return self._run("push", lines, index_at_least)

    def finish(self, index_at_least: int = 0) -> Translated:
        """The body has ended."""
        return self._run("finish", index_at_least)

    def _run(self, name: str, *arguments: object) -> Translated:
        given = self._instance.call("translate", f"[method]translator.{name}", self._translator, *arguments)
        return Translated(given[0], BadChunk(*given[1]) if given[1] else None)


class Lines:
    """Cuts a body that comes in pieces into whole lines; holds the rest, at most `LINE_BYTES_MAX`."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._rest: list[str] = []
        self._bytes = 0

    def push(self, piece: str | bytes) -> str:
        """The whole lines that are there now. Errors: `Refused`."""
        try:
            text = piece if isinstance(piece, str) else self._decoder.decode(piece)
        except UnicodeDecodeError as error:
            raise Refused("invalid", f"the body is not UTF-8: {error.reason}") from error
        whole, end, rest = text.rpartition("\n")
        if end:
            whole = "".join([*self._rest, whole, end])
            self._rest, self._bytes = [], 0
        self._bytes += len(rest)
        if self._bytes > LINE_BYTES_MAX:
            raise Refused("invalid", f"a line of the body has more than {LINE_BYTES_MAX} bytes")
        self._rest.append(rest)
        return whole

    def rest(self) -> str:
        """What came after the last line break."""
        return "".join(self._rest)
