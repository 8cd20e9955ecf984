"""A dialogue: an environment of its own answers each reply, at most twice, and pays by the turns."""

from collections.abc import Iterator

import verifiers.v1 as vf


class Data(vf.TaskData):
    number: int


class Guess(vf.Task[Data]):
    @vf.reward(weight=0.5)
    async def polite(self, trace: vf.Trace) -> float:
        return float("please" in trace.transcript)


class Config(vf.EnvConfig):
    player: vf.AgentConfig = vf.AgentConfig()


class Rounds(vf.Env[Config]):
    async def run(self, task: Guess, agents: vf.Agents) -> None:
        found = 0.0
        async with agents.player.interaction(task) as interaction:
            said = await interaction.turn()
            for left in (2, 1, 0):
                if said.terminated or said.last_reply == str(task.data.number):
                    found = float(not said.terminated)
                    break
                if left:
                    said = await interaction.turn(f"No; {left} left.")
        interaction.trace.record_reward("found", found / interaction.trace.num_turns)


class Guesses(vf.Taskset[Guess, vf.TasksetConfig]):
    def load(self) -> Iterator[Guess]:
        for n in range(3, 8):
            yield Guess(Data(prompt="1 to 9?", number=n), self.config.task)


__all__ = ["Guesses", "Rounds"]
