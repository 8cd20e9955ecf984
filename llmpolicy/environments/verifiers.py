"""Tasksets of verifiers by their name: its own code plays the episode and scores it, and the model
that it calls is the dialogue.
"""

import asyncio
import functools
import itertools
import json
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from llmpolicy.environments.conversation import Done, Reply
from llmpolicy.environments.extras import library
from llmpolicy.errors import RecipeError

PROGRAM = "llmpolicy_chat"
"""The name by which verifiers finds the program that plays a seat."""

ROWS = 1000
"""How many rows of a taskset without an end are played."""

CHATS = (None, "null", "bash")
"""Harnesses that a chat with the task's own tools can stand for."""


class Rollout:
    """One episode of a taskset, made with its own ``args``; the seed chooses the row, or a column
    ``row`` does.

    Its environment has one seat, played once in an episode. A call that does not fit its tool is
    answered to the model before it comes here.
    """

    def __init__(self, name: str, **args: Any) -> None:
        self._vf = library("verifiers.v1", "verifiers")
        try:
            self._env = self._made(name, args)
            rows = self._env.taskset
            self._rows = list(itertools.islice(rows, None if rows.bounded else ROWS))
            self._check(name)
            self._offer()
        except RecipeError:
            raise
        except Exception as error:
            words = " ".join(f"{error or type(error).__name__}".split())
            raise RecipeError(f"verifiers {name!r} cannot be played: {words:.300}") from error
        from llmpolicy.environments.verifiers_program import Endpoint

        self._endpoint = Endpoint()
        self._episode: asyncio.Task[Any] | None = None
        self._asked: Any = None
        self._traces: list[Any] = []
        self._turn, self._reply = 0, Reply("")
        self._served, self._over = False, Done()
        self._results: list[tuple[Any, str]] = []
        self._failed: RuntimeError | None = None
        self._started = False

    def _made(self, name: str, args: Mapping[str, Any]) -> Any:
        """The environment with a chat in its seat."""
        from llmpolicy.environments import verifiers_program

        # Plugins are found by the name of a module that has no dots.
        sys.modules[PROGRAM] = verifiers_program
        try:
            self._vf.import_taskset(name)
        except ModuleNotFoundError as error:
            raise RecipeError(
                f"verifiers has no taskset {name!r}: {' '.join(str(error).split()):.200}"
            ) from error
        chat = {"harness": {"id": PROGRAM}, "runtime": {"type": "subprocess"}}
        block = {"taskset": {**args, "id": name}, self._seat(name): chat}
        return self._vf.load_environment(self._vf.resolve_env_config(block))

    def _seat(self, name: str) -> str:
        """The name of the one seat; RecipeError where a chat cannot sit in it."""
        seats = self._seats(self._vf.env_config_type(name)())
        if len(seats) != 1:
            raise RecipeError(
                f"verifiers {name!r} has the seats {', '.join(seats)}; expected one, which is the"
                " model's"
            )
        ((seat, config),) = seats.items()
        for harness in (config.harness and config.harness.id, self._vf.default_harness_id(name)):
            if harness not in CHATS:
                raise RecipeError(
                    f"verifiers {name!r} is played by the program {harness!r}; expected one that a"
                    " chat with the task's own tools can stand for"
                )
        return str(seat)

    def _seats(self, config: Any) -> dict[str, Any]:
        fields = ((key, getattr(config, key)) for key in type(config).model_fields)
        return {key: value for key, value in fields if isinstance(value, self._vf.AgentConfig)}

    def _check(self, name: str) -> None:
        """RecipeError for what a task needs and does not find here."""
        if not self._rows:
            raise RecipeError(f"verifiers {name!r} has no rows with these args")
        task = self._rows[0]
        if task.NEEDS_CONTAINER or any(row.data.image for row in self._rows):
            raise RecipeError(f"verifiers {name!r} needs a container, which it is not given here")
        for toolset in self._toolsets():
            where = toolset.config.runtime.type if toolset.config.url is None else "a server"
            if where != "subprocess":
                raise RecipeError(
                    f"verifiers {name!r}: the tools of {type(toolset).__name__} run in {where};"
                    " expected tools that this machine can run itself"
                )
        for judge in task.config.judges:
            self._check_judge(name, judge)

    def _check_judge(self, name: str, judge: Any) -> None:
        from verifiers.v1.configs.client import resolve_api_key

        remote = judge.base_url == type(judge).model_fields["base_url"].default
        if remote and resolve_api_key(judge) == "EMPTY":
            raise RecipeError(
                f"verifiers {name!r}: its judge {judge.id!r} needs a base_url, or the key in"
                f" ${judge.api_key_var}"
            )

    def _toolsets(self) -> list[Any]:
        return [*self._own_toolsets(), *self._shared_toolsets()]

    def _own_toolsets(self) -> list[Any]:
        return list(type(self._rows[0]).toolsets(self._rows[0].config))

    def _shared_toolsets(self) -> list[Any]:
        return list(self._env.taskset.toolsets(self._env.taskset.config))

    def _offer(self) -> None:
        """Be of a class of one's own, whose further methods are the tools."""
        from verifiers.v1.utils.decorators import discover_decorated

        from llmpolicy.environments.verifiers_program import name_of_tool

        tools = {}
        for toolset in self._toolsets():
            for function in discover_decorated(toolset, "tool"):
                own = getattr(function, "tool_name", None) or function.__name__
                name = name_of_tool(toolset.server_name, own)
                tools[name] = staticmethod(self._tool(name, function))
        self.__class__ = type(type(self).__name__, (type(self),), tools)

    def _tool(self, name: str, function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        @functools.wraps(function)
        async def tool(**arguments: Any) -> str | Done:
            return await self._result(name, arguments)

        tool.__name__ = name
        return tool

    async def reset(self, seed: int, row: int | None = None) -> list[dict[str, Any]]:
        """What the model reads first."""
        await self._leave()
        task = self._rows[(seed if row is None else row) % len(self._rows)].with_data()
        from llmpolicy.environments.verifiers_program import TOOLBOX, Toolbox

        TOOLBOX.set(Toolbox(self._own_toolsets(), self._shared_toolsets()))
        task.toolsets = lambda config: []  # ours need no process each
        address = await self._endpoint.address()
        client = self._vf.EvalClientConfig(base_url=address, api_key_var="LLMPOLICY_NONE")
        context = self._vf.ModelContext(model="policy", client=client)
        if not self._started:
            self._started = True
            await self._env.start()
        self._traces, self._turn, self._failed = [], 0, None
        episode = self._env.run_episode(task, context, on_trace=self._traces.append)
        self._episode = asyncio.get_running_loop().create_task(episode)
        said = await self._next([])
        if isinstance(said, Done):
            raise RuntimeError("the episode was over before the model was asked anything")
        return said

    async def step(self, reply: str) -> list[dict[str, Any]] | Done:
        """What is said to a reply, or the score of the episode."""
        return await self._said({"role": "assistant", "content": str(reply)})

    async def get_reward(self) -> float | None:
        """The score of an episode that was cut off."""
        assert self._episode is not None
        if self._failed is not None:
            raise self._failed
        if self._asked is not None and self._turn and not self._served:
            await self._last()
        for trace in self._traces:
            trace.stop("max_turns")  # a limit, by which its rewards know that it was cut off
        while not self._episode.done():
            if self._asked is not None:
                self._asked.reply.set_result(None)
            await self._wait()
        return self._score()

    async def _last(self) -> None:
        """Say the reply that was cut off."""
        self._served = True
        message = {"role": "assistant", "content": str(self._reply)}
        self._asked.reply.set_result((message, "length"))
        await self._wait()

    def _hear(self, turn: int, reply: Reply) -> None:
        """The turn in which the tools asked for next are called, or that nobody answers."""
        if turn != self._turn:
            self._turn, self._reply, self._served = turn, reply, False

    async def _result(self, name: str, arguments: Mapping[str, Any]) -> str | Done:
        """The result of one of the calls of a turn, all of which are made with the first."""
        if not self._served:
            self._served, self._results, self._over = True, [], Done(None, "it has no result")
            try:
                await self._call()
            except RuntimeError as error:  # not the model's fault: get_reward says it
                self._failed = error
        for place, (call, content) in enumerate(self._results):
            if call == (name, arguments):
                del self._results[place]
                return content
        return self._over

    async def _call(self) -> None:
        calls = [
            {
                "id": f"call_{self._turn}_{number}",
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(dict(call.arguments))},
            }
            for number, call in enumerate(self._reply.calls)
        ]
        content = str(self._reply)
        said = await self._said({"role": "assistant", "content": content, "tool_calls": calls})
        if isinstance(said, Done):
            self._over = said
            return
        pairs = zip(self._reply.calls, said, strict=False)
        self._results = [
            ((call.name, dict(call.arguments)), _text(result["content"])) for call, result in pairs
        ]

    async def _said(self, message: Mapping[str, Any]) -> list[dict[str, Any]] | Done:
        """What comes of a message of the model's."""
        if self._asked is None:
            raise RuntimeError("the episode does not wait for the model")
        held = self._asked.messages
        ended = "tool_calls" if message.get("tool_calls") else "stop"
        self._asked.reply.set_result((dict(message), ended))
        return await self._next([*held, message])

    async def _next(self, held: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]] | Done:
        """The messages behind those held with which the model is asked next, or the end."""
        await self._wait()
        if self._asked is None:
            return Done(self._score(), self._why())
        messages = self._asked.messages
        if _plain(messages[: len(held)]) != _plain(held):
            raise RuntimeError(
                "the model was asked in another conversation; expected one, which only grows"
            )
        return messages[len(held) :]

    async def _wait(self) -> None:
        """Let the episode run until it asks the model, or is over."""
        assert self._episode is not None
        asked = asyncio.ensure_future(self._endpoint.asked.get())
        await asyncio.wait({asked, self._episode}, return_when=asyncio.FIRST_COMPLETED)
        self._asked = asked.result() if asked.done() else None
        asked.cancel()

    async def _leave(self) -> None:
        """End an episode that nobody plays on."""
        if self._episode is not None:
            self._episode.cancel()
            await asyncio.gather(self._episode, return_exceptions=True)
        while not self._endpoint.asked.empty():
            self._endpoint.asked.get_nowait()
        self._asked = None

    def _score(self) -> float | None:
        """What verifiers gave the episode; RuntimeError where it failed there."""
        assert self._episode is not None
        episode = self._episode.result()
        errors = [*episode.errors, *(error for trace in episode.traces for error in trace.errors)]
        if not episode.ok:
            why = f"{errors[-1].type}: {errors[-1].message}" if errors else "no reason is given"
            raise RuntimeError(f"verifiers has ended the episode: {why}")
        if len(episode.traces) != 1:
            raise RuntimeError(f"{len(episode.traces)} rollouts in an episode; expected one")
        (trace,) = episode.traces
        return float(trace.reward) if trace.rewards else None

    def _why(self) -> str:
        return str(self._traces[-1].stop_condition or "") if self._traces else ""


def _plain(messages: Sequence[Mapping[str, Any]]) -> list[Any]:
    """What two tellings of one conversation have in common."""
    return [(each["role"], each.get("content") or "") for each in messages]


def _text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
