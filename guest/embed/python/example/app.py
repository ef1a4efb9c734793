"""A chat endpoint with resumable answers. Start: uvicorn app:app --port 8000. See: README.md, "In five minutes".

With REDIS_URL all processes over that Redis serve the same chats.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from rejoin_core import Overloaded, Refused, Streams, Unavailable

if url := os.environ.get("REDIS_URL"):
    from rejoin_core.redis import RedisStore

    redis: RedisStore | None = RedisStore(url)
else:
    redis = None
streams = Streams(redis)
tasks: set[asyncio.Task[None]] = set()


async def generate(chat: str, generation: int, question: str) -> None:
    """Stands for the model. Nobody waits for this: readers come and go as they like."""
    stopped = asyncio.create_task(streams.stopped(chat, generation))
    try:
        step = {"id": f"step-{generation}", "index": 0, "stepDetails": {"type": "message_creation"}}
        await streams.append(chat, [{"event": "on_run_step", "data": step}], generation=generation)
        for word in f"You asked: {question}. Reload as often as you like: nothing is lost.".split():
            done, _ = await asyncio.wait({stopped}, timeout=0.2)
            if done:
                return
            delta = {"id": step["id"], "delta": {"content": [{"type": "text", "text": f"{word} "}]}}
            await streams.append(chat, [{"event": "on_message_delta", "data": delta}], generation=generation)
        await streams.complete(chat, generation=generation)
    except Refused:
        pass  # Stopped or replaced a moment ago.
    except Exception:
        with suppress(Refused):  # It has ended already.
            await streams.fail(chat, "the model failed", generation=generation)
        raise
    finally:
        stopped.cancel()


async def ask(request: Request) -> Response:
    question = (await request.body()).decode(errors="replace")
    chat = request.path_params["chat"]
    _, job = await streams.create(chat, user_id="me")
    task = asyncio.create_task(generate(chat, job.generation, question))
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return JSONResponse({"generation": job.generation}, status_code=202)


async def read(request: Request) -> Response:
    # A real server checks here who asks.
    cursor = request.headers.get("last-event-id") or request.query_params.get("after")
    resume = request.query_params.get("resume") == "true"
    frames = await streams.subscribe(request.path_params["chat"], last_event_id=cursor, resume=resume)
    if frames is None:
        return Response(status_code=204)
    headers = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}
    return StreamingResponse(frames, media_type="text/event-stream", headers=headers)


async def stop(request: Request) -> Response:
    aborted = await streams.abort(request.path_params["chat"])
    return PlainTextResponse(aborted.text + "\n")


async def refused(_request: Request, error: Exception) -> Response:
    reason = error.reason if isinstance(error, Refused) else "overloaded"
    status = {"not-found": 404, "invalid": 400, "overloaded": 503}.get(reason, 409)
    return PlainTextResponse(f"{error}\n", status_code=status)


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        if redis:
            await stack.enter_async_context(redis)
        await stack.enter_async_context(streams)
        yield


routes = [
    Route("/chats/{chat}", ask, methods=["POST"]),
    Route("/chats/{chat}", read, methods=["GET"]),
    Route("/chats/{chat}", stop, methods=["DELETE"]),
]
app = Starlette(routes=routes, lifespan=lifespan, exception_handlers=dict.fromkeys((Refused, Overloaded, Unavailable), refused))
