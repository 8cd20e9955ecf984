"""What stands between a rollout of verifiers and a dialogue: an endpoint that is the model to the
one and words to the other, and the program that plays an agent's seat. It needs verifiers.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import httpx
from aiohttp import web
from mcp import Client
from mcp.server.mcpserver import MCPServer
from verifiers.v1 import Harness, HarnessConfig, ProgramResult, Toolset
from verifiers.v1.dialects.chat import message_to_wire
from verifiers.v1.errors import HarnessError
from verifiers.v1.harnesses.utils.compaction import bound_tool_message
from verifiers.v1.harnesses.utils.mcp import mcp_content_to_chat_content

Wire = dict[str, Any]
"""A message as OpenAI's chat completions have it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A call of the model that waits: what it is to read, and where its message goes with why it
    ended; None refuses the call.
    """

    messages: list[Wire]
    reply: asyncio.Future[tuple[Wire, str] | None]


class Endpoint:
    """A model by the API of chat completions, on the loopback, that says what it is given to."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[Asked] = asyncio.Queue()
        self._runner: web.AppRunner | None = None
        self._address = ""

    async def address(self) -> str:
        """Where it answers, from now on."""
        if self._runner is None:
            app = web.Application(client_max_size=1 << 30)
            app.router.add_post("/v1/chat/completions", self._answer)
            self._runner = web.AppRunner(app)
            await self._runner.setup()
            await web.TCPSite(self._runner, "127.0.0.1", 0).start()
            self._address = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self._address

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        asked = Asked(body["messages"], asyncio.get_running_loop().create_future())
        self.asked.put_nowait(asked)
        reply = await asked.reply
        if reply is None:
            return web.json_response({"error": {"message": "the dialogue is over"}}, status=400)
        choice = {"index": 0, "message": reply[0], "finish_reason": reply[1]}
        return web.json_response(
            {
                "id": "dialogue",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [choice],
            }
        )


class Toolbox:
    """The tools of one rollout, in this process, where verifiers has a server for each set; those
    of ``tasks`` know the row.
    """

    def __init__(self, tasks: Sequence[Toolset], shared: Sequence[Toolset]) -> None:
        self._tasks, self._shared = tasks, shared
        self._servers: list[tuple[str, MCPServer]] | None = None

    async def servers(self, trace: Any) -> list[tuple[str, MCPServer]]:
        """The servers with what begins the names of their tools."""
        if self._servers is None:
            self._servers = []
            for toolset in [*self._tasks, *self._shared]:
                await self._begin(toolset, trace)
                name = toolset.server_name or type(toolset).__name__
                server = MCPServer(name, log_level="ERROR")  # it sets up a log of its own
                toolset.register(server)
                self._servers.append((toolset.server_name, server))
        return self._servers

    async def _begin(self, toolset: Toolset, trace: Any) -> None:
        async def state() -> Any:  # the rollout's own, which a server asks for over HTTP
            return trace.state

        toolset._pull_state = state
        await toolset.setup()
        if toolset in self._tasks:
            await toolset.setup_task(trace.task.data)


TOOLBOX: ContextVar[Toolbox] = ContextVar("TOOLBOX")
"""The tools of the rollout that runs."""


def name_of_tool(server: str, tool: str) -> str:
    """The name by which the model calls a tool."""
    return f"{server}_{tool}" if server else tool


class Talk:
    """The calls of one segment: of the model, and of the tools that it asks for."""

    def __init__(self, http: httpx.AsyncClient, endpoint: str, gate: str | None) -> None:
        self._http, self._endpoint, self._gate = http, endpoint, gate
        self._tools: dict[str, tuple[Client, str]] = {}
        self._described: list[Wire] = []

    async def offer(self, server: str, client: Client) -> None:
        """Let the model call the tools of a server."""
        for tool in (await client.list_tools()).tools:
            name = name_of_tool(server, tool.name)
            if name in self._tools:
                raise HarnessError(f"two tools are named {name!r}")
            self._tools[name] = client, tool.name
            function = {
                "name": name,
                "description": tool.description or "",
                "parameters": tool.input_schema,
            }
            self._described.append({"type": "function", "function": function})

    async def said(self, model: str, messages: Sequence[Wire]) -> Wire:
        """The model's next message."""
        body = {"model": model, "messages": messages}
        if self._described:
            body["tools"] = self._described
        answer = await self._http.post(f"{self._endpoint}/chat/completions", json=body)
        if answer.is_error:
            raise HarnessError(f"the model's call was refused: {answer.text:.300}")
        message = answer.json()["choices"][0]["message"]
        return {key: value for key, value in message.items() if value is not None}

    async def called(self, call: Mapping[str, Any]) -> Wire:
        """The message of a tool, or of what stands before it."""
        name, arguments = call["function"]["name"], json.loads(call["function"]["arguments"])
        said: Wire = {"role": "tool", "tool_call_id": call["id"], "name": name}
        if self._gate is not None:
            asked = {"tool_call_id": call["id"], "name": name, "arguments": arguments}
            verdict = (await self._http.post(self._gate, json=asked)).raise_for_status().json()
            if verdict["action"] == "stop":
                raise HarnessError(verdict["reason"])
            if verdict["action"] == "deny":
                return bound_tool_message(verdict["message"])
        if name not in self._tools:
            return {**said, "content": f"error: unknown tool {name!r}"}
        client, tool = self._tools[name]
        content = (await client.call_tool(tool, arguments)).content
        return bound_tool_message({**said, "content": mcp_content_to_chat_content(content)})


class Program(Harness[HarnessConfig]):
    """The chat loop of verifiers' own harness ``null``, without a process for it or its tools."""

    APPENDS_SYSTEM_PROMPT = True
    SUPPORTS_MCP = True
    SUPPORTS_TOOL_INTERCEPTION = True
    SUPPORTS_RESUME = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(
        self,
        ctx: Any,
        trace: Any,
        runtime: Any,
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],
        data: Any,
        tool_interception_url: str | None = None,
    ) -> ProgramResult:
        """One segment: the model speaks and calls until it has said something without a call."""
        if mcp_urls:
            raise HarnessError("its tools are behind an address, and cannot be served here")
        messages = self._begun(data)
        async with AsyncExitStack() as stack:
            # The loopback needs no certificates, which take a while to load.
            http = httpx.AsyncClient(
                timeout=None, verify=False, headers={"Authorization": f"Bearer {secret}"}
            )
            talk = Talk(await stack.enter_async_context(http), endpoint, tool_interception_url)
            for name, server in await TOOLBOX.get().servers(trace):
                await talk.offer(name, await stack.enter_async_context(Client(server)))
            while True:
                messages.append(await talk.said(ctx.model, messages))
                calls = messages[-1].get("tool_calls")
                if not calls:
                    return ProgramResult(exit_code=0, stdout="", stderr="")
                for call in calls:
                    messages.append(await talk.called(call))

    def _begun(self, data: Any) -> list[Wire]:
        system, prompt = self.resolve_prompt(data)
        messages = [{"role": "system", "content": system}] if system else []
        if isinstance(prompt, str):
            return [*messages, {"role": "user", "content": prompt}] if prompt else messages
        return [*messages, *map(message_to_wire, prompt or [])]


__all__ = ["Program"]
