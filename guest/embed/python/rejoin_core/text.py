"""Python values as JSON text, and events as lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any


def json_text(value: Any) -> str:
    """One line. Errors: `TypeError`, `ValueError`: what JSON has not."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair, as a cut answer may hold: JSON can spell it, UTF-8 cannot.
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text


def lines_of(events: str | Iterable[Any]) -> str:
    """Events as lines: text stays as it is, in a list each text is one event, whatever else becomes JSON."""
    if isinstance(events, str):
        return events
    if isinstance(events, (bytes, Mapping)):
        raise TypeError(f"events are text, or a list of texts and objects, not {type(events).__name__}")
    # A raw line break can only stand between tokens.
    return "\n".join(one.replace("\n", " ") if isinstance(one, str) else json_text(one) for one in events)
