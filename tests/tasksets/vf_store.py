"""A tool that knows its row and keeps count in the rollout's state; what it says is rewritten on
its way, and the rollout stops when enough is sold.
"""

from collections.abc import Iterator

import verifiers.v1 as vf


class Held(vf.State):
    sold: int = 0


class Data(vf.TaskData):
    stock: int


class Store(vf.Toolset[vf.ToolsetConfig, Held]):
    async def setup_task(self, task: Data) -> None:
        self.stock = task.stock

    @vf.tool
    async def sell(self, count: int) -> str:
        """Sell so many.

        Args:
            count: How many.
        """
        if count > self.stock:
            raise ValueError("so many are not there")
        self.stock -= count
        self.state.sold += count
        return f"{self.stock} left"


class StoreConfig(vf.TaskConfig):
    tools: vf.ToolsetConfig = vf.ToolsetConfig()


class Selling(vf.Task[Data, Held, StoreConfig]):
    @classmethod
    def toolsets(cls, config: StoreConfig) -> list[vf.Toolset]:
        return [Store(config.tools)]

    @vf.intercept
    async def loud(self, request: vf.Request) -> vf.Request:
        last = request.messages[-1]
        if isinstance(last, vf.ToolMessage):
            last.content = str(last.content).upper()
        return request

    @vf.stop
    async def enough(self, trace: vf.Trace) -> bool:
        return trace.state.sold >= 5

    @vf.reward
    async def sold(self, trace: vf.Trace) -> float:
        heard = sum(len(str(message.content)) for message in trace.tool_messages)
        return trace.state.sold + heard / 100 + len(trace.transcript) / 1000


class Config(vf.TasksetConfig):
    task: StoreConfig = StoreConfig()


class Sales(vf.Taskset[Selling, Config]):
    def load(self) -> Iterator[Selling]:
        for n in range(4, 8):
            yield Selling(Data(prompt="Sell.", stock=n), self.config.task)


__all__ = ["Sales"]

if __name__ == "__main__":
    Store.run()
