"""The scripts of the Rust server: what its store does in Redis, this one does with the same text."""

from __future__ import annotations

from functools import cache
from hashlib import sha1
from pathlib import Path
from typing import NamedTuple

# By what is put in front of them.
_OF = {
    "stream": ["append", "checkpoint", "create", "read", "remove"],
    "index": ["admit", "due", "intend", "place"],
}


class Script(NamedTuple):
    text: bytes
    hash: str


def _folder() -> Path:
    """In this package, where it was installed, or in the checkout that it stands in."""
    here = Path(__file__).resolve()
    places = [here.parent / "scripts", *(root / "host/src/store/redis/scripts" for root in here.parents[5:6])]
    for place in places:
        if (place / "stream.lua").is_file():
            return place
    raise FileNotFoundError(f"no scripts at {' or '.join(map(str, places))}: install this package from a checkout")


@cache
def scripts() -> dict[str, Script]:
    """By name. `ending` is `append`, allowed to use memory that there is none of."""
    folder = _folder()

    def read(name: str) -> bytes:
        return (folder / f"{name}.lua").read_bytes()

    texts = {name: read(part) + read(name) for part, names in _OF.items() for name in names}
    texts["ending"] = b"#!lua flags=allow-oom\n" + texts["append"]
    texts["presence"] = read("presence")
    return {name: Script(text, sha1(text, usedforsecurity=False).hexdigest()) for name, text in texts.items()}
