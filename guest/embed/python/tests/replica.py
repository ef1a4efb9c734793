"""One Python replica as a process of its own: `python replica.py <address of Redis>`. Serves what the mixed test needs of
the Rust server's wire, and prints its own address as uvicorn does.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from rejoin_core import Overloaded, Producer, Refused, Streams, Unavailable
from rejoin_core.redis import RedisStore

store = RedisStore(sys.argv[1])
streams = Streams(store)


async def create(request: Request) -> Response:
    key = request.headers.get("idempotency-key")
    _, job = await streams.create(request.path_params["stream"], await request.json(), idempotency_key=key)
    return JSONResponse(asdict(job))


async def append(request: Request) -> Response:
    producer = Producer(request.headers["producer-id"], int(request.headers["producer-seq"]))
    text = (await request.body()).decode()
    pushed = await streams.append(request.path_params["stream"], text, producer=producer)
    return JSONResponse({"appended": pushed.appended, "duplicate": pushed.duplicate})


async def complete(request: Request) -> Response:
    return JSONResponse(asdict(await streams.complete(request.path_params["stream"])))


async def read(request: Request) -> Response:
    cursor = request.headers.get("last-event-id")
    frames = await streams.subscribe(request.path_params["stream"], last_event_id=cursor)
    return StreamingResponse(frames, media_type="text/event-stream") if frames else Response(status_code=204)


async def refused(_request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, status_code=409 if isinstance(error, Refused) else 503)


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    async with store, streams:
        yield


routes = [
    Route("/v1/streams/{stream}", create, methods=["POST"]),
    Route("/v1/streams/{stream}/events", append, methods=["POST"]),
    Route("/v1/streams/{stream}/events", read, methods=["GET"]),
    Route("/v1/streams/{stream}/complete", complete, methods=["POST"]),
]
handlers = {Refused: refused, Overloaded: refused, Unavailable: refused}
uvicorn.run(Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers), port=0, access_log=False)
