"""One seat that is played twice in an episode."""

import verifiers.v1 as vf
from vf_sums import Sums


class Config(vf.EnvConfig):
    agent: vf.AgentConfig = vf.AgentConfig()


class Twice(vf.Env[Config]):
    async def run(self, task: vf.Task, agents: vf.Agents) -> None:
        await agents.agent.run(task)
        await agents.agent.run(task)


__all__ = ["Sums", "Twice"]
