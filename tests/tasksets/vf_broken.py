"""What cannot be played, or fails while it is."""

from collections.abc import Iterator

import verifiers.v1 as vf


class Config(vf.TasksetConfig):
    how: str = ""


class Broken(vf.Task[vf.TaskData]):
    @vf.reward
    async def right(self, trace: vf.Trace) -> float:
        raise ValueError("nobody knows")


class Rows(vf.Taskset[Broken, Config]):
    def load(self) -> Iterator[Broken]:
        if self.config.how == "image":
            yield Broken(vf.TaskData(prompt="?", image="python:3.11"), self.config.task)
        elif self.config.how != "empty":
            yield Broken(vf.TaskData(prompt="?"), self.config.task)


__all__ = ["Rows"]
