"""A question and its answer, with a system prompt and two weighted rewards."""

from collections.abc import Iterator

import verifiers.v1 as vf


class Data(vf.TaskData):
    answer: str


class Sum(vf.Task[Data]):
    @vf.reward(weight=2.0)
    async def right(self, task: Data, trace: vf.Trace) -> float:
        return float(trace.last_reply == task.answer)

    @vf.reward
    async def short(self, trace: vf.Trace) -> float:
        return 1 / (1 + len(trace.last_reply))

    @vf.metric
    async def characters(self, trace: vf.Trace) -> float:
        return float(len(trace.last_reply))


class Config(vf.TasksetConfig):
    first: int = 2


class Sums(vf.Taskset[Sum, Config]):
    def load(self) -> Iterator[Sum]:
        for n in range(self.config.first, self.config.first + 5):
            data = Data(prompt=f"{n} + {n}?", system_prompt="Say a number.", answer=str(2 * n))
            yield Sum(data, self.config.task)


__all__ = ["Sums"]
