"""The store in Redis that the Rust server and the kit for Node have too: `RedisStore`. It needs redis-py."""

try:
    import redis.asyncio as _
except ImportError as missing:
    raise ImportError("RedisStore needs redis-py: pip install 'rejoin-core[redis]'") from missing

from .store import RedisStore

__all__ = ["RedisStore"]
