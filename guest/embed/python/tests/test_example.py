"""The example behind a real server, as its README starts it: ask, leave, come back, stop."""

import json
import os
import re
import subprocess
import sys
import unittest
from pathlib import Path
from unittest import mock

import httpx

from limits import PATIENCE_S, Case, Limited
from redis_server import Server
from support import Frame, parse

EXAMPLE = Path(__file__).resolve().parents[1] / "example"
# Its answer takes ten minutes: whatever comes in between, it is still at work.
LONG = "why? " * 3000
http = httpx.Client(timeout=PATIENCE_S)


class Example(Limited):
    def setUp(self) -> None:
        self.url = self.start()

    def start(self, **variables: str) -> str:
        """A server of its own, which ends with the test: the address of a chat."""
        command = [sys.executable, "-m", "uvicorn", "app:app", "--port", "0", "--no-access-log"]
        environment = {**os.environ, "PYTHONPATH": str(EXAMPLE.parent), **variables}
        server = subprocess.Popen(command, cwd=EXAMPLE, env=environment, stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.end, server)
        assert server.stderr
        lines = []
        for line in server.stderr:
            lines.append(line)
            if found := re.search(r"running on (\S+)", line):
                break
        else:
            self.fail("".join(lines))
        return f"{found[1]}/chats/1"

    def end(self, server: "subprocess.Popen[str]") -> None:
        server.terminate()
        try:
            server.communicate(timeout=PATIENCE_S)
        finally:
            server.kill()

    def frames(self, count: int, after: str = "", query: str = "") -> list[Frame]:
        """The first `count` frames, or all of them to the end."""
        text = ""
        headers = {"last-event-id": after} if after else {}
        with http.stream("GET", self.url + query, headers=headers) as response:
            self.assertEqual(response.headers["content-type"].split(";")[0], "text/event-stream")
            for piece in response.iter_text():
                text += piece
                if len(found := parse(text[: text.rfind("\n\n") + 2])) >= count:
                    return found[:count]
        return parse(text)

    def test_an_answer_goes_on_where_its_reader_left_until_it_is_stopped(self) -> None:
        self.assertEqual(http.get(self.url).status_code, 404)
        self.assertEqual(http.delete(self.url).status_code, 404)
        generation = http.post(self.url, content=LONG).json()["generation"]
        left = self.frames(2)
        rest = self.frames(3, left[-1].id)
        self.assertEqual([frame.id for frame in left + rest], [f"{generation}-{at}" for at in range(1, 6)])
        state = json.loads(self.frames(1, query="?resume=true")[0].data)
        self.assertTrue(state["resumeState"]["aggregatedContent"][0]["text"].startswith("You asked: why? "))
        self.assertTrue(http.delete(self.url).text.startswith("You asked: why? "))
        last = self.frames(1000)[-1]
        self.assertTrue(json.loads(last.data)["aborted"])
        self.assertEqual(http.delete(self.url).status_code, 409)
        self.assertEqual(http.get(self.url, headers={"last-event-id": last.id}).status_code, 204)
        self.assertEqual(http.get(self.url, headers={"last-event-id": "x"}).status_code, 400)

    def test_an_answer_that_nobody_reads_comes_to_its_end(self) -> None:
        http.post(self.url, content="why")
        frames = self.frames(1000)
        text = "".join(json.loads(frame.data)["data"]["delta"]["content"][0]["text"] for frame in frames[1:-1])
        self.assertEqual(text, "You asked: why. Reload as often as you like: nothing is lost. ")
        self.assertTrue(json.loads(frames[-1].data)["final"])
        self.assertEqual([frame.data for frame in self.frames(1000)], [frame.data for frame in frames])

    def test_two_servers_over_one_redis_serve_the_same_chat(self) -> None:
        redis = Server()
        self.addCleanup(redis.stop)
        here, there = self.start(REDIS_URL=redis.url), self.start(REDIS_URL=redis.url)
        generation = http.post(here, content=LONG).json()["generation"]
        self.url = there
        self.assertEqual([frame.id for frame in self.frames(2)], [f"{generation}-1", f"{generation}-2"])
        self.assertTrue(http.delete(there).text.startswith("You"))
        self.url = here
        self.assertTrue(json.loads(self.frames(1000)[-1].data)["aborted"])


class Model(Case):
    async def test_a_model_that_fails_ends_its_job(self) -> None:
        with mock.patch.object(sys, "path", [str(EXAMPLE), *sys.path]):
            import app
        _, job = await app.streams.create("chat", user_id="me")
        with mock.patch.object(app.streams, "append", side_effect=OSError("the model is gone")):
            with self.assertRaises(OSError):
                await app.generate("chat", job.generation, "why?")
        self.assertEqual((await app.streams.content("chat"))[0].status, "error")


if __name__ == "__main__":
    unittest.main()
