"""Episodes as verifiers plays them by itself: its own environment, its harness ``null``, the
processes of its tools, and a provider that says what stands in a list.

``python own.py`` reads a list of cases from standard input, each a taskset's name, a row, the
messages of a model and the most turns, and prints what the model was asked, and what the episode was given.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import verifiers.v1 as vf
from aiohttp import web


def chunks(message: dict[str, Any]) -> list[dict[str, Any]]:
    """A message as a provider streams it."""
    calls = [{**call, "index": n} for n, call in enumerate(message.get("tool_calls", ()))]
    delta = {**message, "tool_calls": calls} if calls else message
    ended = "tool_calls" if calls else "stop"
    head = {"id": "own", "object": "chat.completion.chunk", "created": 0, "model": "own"}
    return [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
        {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": ended}]},
    ]


class Provider:
    """Says one message after the other, and notes what was asked."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self.messages, self.asked = iter(messages), list[Any]()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append({"messages": body["messages"], "tools": body.get("tools", [])})
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for chunk in chunks(next(self.messages)):
            await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        return response


async def prepared(self: Any, script: str, *_: Any, **__: Any) -> list[str]:
    """The program of a harness in this interpreter, where verifiers takes one that uv makes."""
    path = Path(tempfile.gettempdir()) / f"own-{abs(hash(script))}.py"
    path.write_text(script, encoding="utf-8")
    return [sys.executable, str(path)]


async def played(
    name: str, row: int, messages: list[dict[str, Any]], turns: int | None
) -> dict[str, Any]:
    provider, app = Provider(messages), web.Application()
    app.router.add_post("/v1/chat/completions", provider.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    seat = {"vf_rounds": "player"}.get(name, "agent")
    chat = {"harness": {"id": "null"}, "runtime": {"type": "subprocess"}, "max_turns": turns}
    env = vf.load_environment(vf.resolve_env_config({"taskset": {"id": name}, seat: chat}))
    client = vf.EvalClientConfig(base_url=address, api_key_var="NONE")
    async with env.serving():
        task = list(env.taskset)[row]
        episode = await env.run_episode(task, vf.ModelContext(model="own", client=client))
    await runner.cleanup()
    (trace,) = episode.traces
    return {
        "asked": provider.asked,
        "ok": episode.ok,
        "errors": [str(error) for error in trace.errors],
        "reward": trace.reward,
        "rewards": {key: value.value for key, value in trace.rewards.items()},
        "why": trace.stop_condition,
        "transcript": [[each.role, each.content or ""] for each in trace.messages],
    }


async def main(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    vf.Runtime.prepare_uv_script = prepared
    return [await played(**case) for case in cases]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(json.load(sys.stdin)))))
