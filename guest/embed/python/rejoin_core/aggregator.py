"""The fold from events to content parts, alone: no stream, no store."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from .component import Instance, checked
from .text import json_text, lines_of


def fold(events: str) -> str:
    """Folds a JSON list of events to a JSON list of parts. Errors: `Refused`, not a JSON list."""
    return str(checked(Instance().call("content", "fold", events)))


class Aggregator:
    """Folds events as they come. One thread at a time."""

    def __init__(self, parts: list[Any] | None = None) -> None:
        """Starts empty, or from parts that are there already. Errors: `Refused`, not a list."""
        self._instance = Instance()
        if parts is None:
            self._fold = self._instance.call("content", "[constructor]aggregator")
        else:
            self._fold = checked(self._instance.call("content", "[static]aggregator.seeded", json_text(parts)))

    def push(self, events: str | Iterable[Any]) -> None:
        """Folds JSON lines, or a list of texts and objects. What is no event changes nothing."""
        self._instance.call("content", "[method]aggregator.push", self._fold, lines_of(events))

    def json(self) -> str:
        """The content parts so far, as JSON text."""
        return str(self._instance.call("content", "[method]aggregator.parts", self._fold))

    def parts(self) -> list[Any]:
        """The content parts so far."""
        parts: list[Any] = json.loads(self.json())
        return parts
