"""Resumable streams of LLM answers inside a Python process. See README.md."""

from .aggregator import Aggregator, fold
from .component import LimitExceeded, Overloaded, Refused, Trapped
from .memory import MemoryStore
from .session import Limits, Producer, Pushed, Session
from .store import ACCEPTED, Append, Closed, Store, Ticket, Told, Unavailable, Written
from .streams import Aborted, Streams
from .translator import BadChunk, Translated, Translator
from .types import Cursor, Entry, Job

__all__ = [
    "ACCEPTED",
    "Aborted",
    "Aggregator",
    "Append",
    "BadChunk",
    "Closed",
    "Cursor",
    "Entry",
    "Job",
    "LimitExceeded",
    "Limits",
    "MemoryStore",
    "Overloaded",
    "Producer",
    "Pushed",
    "Refused",
    "Session",
    "Store",
    "Streams",
    "Ticket",
    "Told",
    "Translated",
    "Translator",
    "Trapped",
    "Unavailable",
    "Written",
    "fold",
]
