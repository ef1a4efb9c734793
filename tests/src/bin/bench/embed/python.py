"""The kit for Python: tasks by line on standard input, as in rounds.mjs. The kit is on PYTHONPATH."""

import json
import sys
import time

from rejoin_core import Aggregator, Limits, Session, fold
from rejoin_core.component import Instance


def start(_batches):
    Instance()


def fold_batches(batches):
    aggregator = Aggregator()
    for batch in batches:
        aggregator.push(batch)
    return aggregator.json()


def push(batches):
    session = Session("bench", None, None, Limits(records_max=1 << 40, log_bytes_max=1 << 40))
    session.create(None, None, "{}")
    session.accept(session.take().write.ticket)
    for batch in batches:
        session.push(batch)
        session.accept(session.take().write.ticket)
    return json.dumps(session.content(), ensure_ascii=False, separators=(",", ":"))


HOSTS = {"python": {"start": start, "fold": fold_batches, "whole": fold, "push": push}}
log = []
for line in sys.stdin:
    task = json.loads(line)
    answer = None
    if "log" in task:
        log = task["log"]
        answer = len(log)
    elif run := HOSTS.get(task["host"], {}).get(task["what"]):
        size = task["batch"] or 1
        batches = ["\n".join(log[at : at + size]) for at in range(0, len(log), size)]
        given = f"[{','.join(log)}]" if task["what"] == "whole" else batches
        begin, out = time.perf_counter_ns(), None
        for _ in range(task["times"]):
            out = run(given)
        answer = {"ns": time.perf_counter_ns() - begin, "out": out or ""}
    print(json.dumps(answer), flush=True)
