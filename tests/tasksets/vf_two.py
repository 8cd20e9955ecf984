"""Two seats."""

import verifiers.v1 as vf
from vf_sums import Sums


class Config(vf.EnvConfig):
    left: vf.AgentConfig = vf.AgentConfig()
    right: vf.AgentConfig = vf.AgentConfig()


class Two(vf.Env[Config]):
    async def run(self, task: vf.Task, agents: vf.Agents) -> None:
        await agents.left.run(task)


__all__ = ["Sums", "Two"]
