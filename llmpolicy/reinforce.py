"""The loop of reinforcement learning: state -> policy -> action -> environment -> next state and
reward -> improve.

REINFORCE (Williams 1992): ∇J = E[Σ ∇log π(a|s) · weight]. Each update plays N episodes with the
policy as it is, weighs every step by how much better than expected it went on, and makes
well-rewarded actions likelier. What comes after the rewards knows only ``(log_prob, weight,
mask)``, so the same loop trains a network of four numbers and a language model:

    ============  ===========================  =====================================
    word          CartPole                     language model
    ============  ===========================  =====================================
    state         4 floats                     the prompt
    action        push left or right, T = 1    the completion, T tokens
    episode       up to 500 steps              one step
    weight        return-to-go − baseline      reward − the mean of its group
    ============  ===========================  =====================================
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from llmpolicy.baselines import BASELINES, Baseline, Make, make_baseline
from llmpolicy.bounded import read_json
from llmpolicy.environments.base import Environment
from llmpolicy.errors import RunError
from llmpolicy.objectives import policy_gradient_loss
from llmpolicy.policies.base import Policy
from llmpolicy.recipe import BaselineName, ReinforceBlock
from llmpolicy.reference import named
from llmpolicy.rollout import Rollout, rollout

Metrics = dict[str, float]


@dataclass(frozen=True, slots=True)
class Settings:
    """How the loop goes, as a recipe's ``reinforce:`` block says.

    ``gamma`` discounts what is earned later; ``horizon`` cuts training episodes off after so many
    steps.
    """

    updates: int
    learning_rate: float
    baseline: BaselineName | Make
    gamma: float = 1.0
    horizon: int | None = None

    @classmethod
    def of(cls, block: ReinforceBlock, base_dir: Path | None = None) -> "Settings":
        """What a recipe's block says of the loop; its files start from ``base_dir``."""
        settings = block.only(field.name for field in fields(cls))
        if block.baseline not in BASELINES:
            settings["baseline"] = named(
                "reinforce.baseline", block.baseline, base_dir, classes=True
            )
        return cls(**settings)


def reinforce(
    policy: Policy,
    environment: Environment,
    settings: Settings,
    *,
    seed: int = 0,
    state: "State | None" = None,
    time_limit: float | None = None,
    on_rollout: Callable[[int, Rollout], None] | None = None,
    on_update: Callable[[int, Metrics], bool | None] | None = None,
) -> "Trained":
    """Train the policy in place and return what happened.

    Goes on from ``state`` if one is given. ``time_limit`` is in seconds. ``on_rollout`` gets the
    number of the update, from 1, and what was played and weighed for it. ``on_update`` gets the
    number of finished updates and the metrics of the last one; it may return True to stop. The same
    seed gives the same run.
    """
    state = state or State.begin(policy, environment, settings, seed)
    trained, started = Trained(state), time.monotonic()
    while state.update < settings.updates:
        played = rollout(
            policy,
            environment,
            seed=_seed(seed, state.update),
            horizon=settings.horizon,
            version=state.update,
        )
        experience = played.weighed(state.baseline.weight(played))
        if on_rollout:
            on_rollout(state.update + 1, experience)
        metrics = improve(policy, state.optimizer, experience)
        state.baseline.learn(experience)
        state.update += 1
        trained.metrics.append({**metrics, "seconds": time.monotonic() - started})
        if on_update and on_update(state.update, trained.metrics[-1]):
            trained.stopped = "asked to"
        elif time_limit is not None and time.monotonic() - started > time_limit:
            trained.stopped = "time limit"
        if trained.stopped:
            break
    return trained


def improve(policy: Policy, optimizer: torch.optim.Optimizer, experience: Rollout) -> Metrics:
    """One step of the optimiser along the policy gradient."""
    loss = surrogate(policy, experience)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return {
        "loss": loss.item(),
        "return": torch.tensor([episode.total for episode in experience.episodes]).nanmean().item(),
        "length": experience.mask.sum(1).float().mean().item(),
        "terminated": experience.terminated.float().mean().item(),
    }


def surrogate(policy: Policy, experience: Rollout) -> Tensor:
    """The loss whose gradient is minus the policy gradient, averaged over episodes."""
    log_prob, mask = policy.log_prob(experience.states, experience.actions)  # (B, T)
    weight = experience.weights.unsqueeze(1).to(log_prob)  # (B, 1)
    return policy_gradient_loss(log_prob, weight, mask, count=len(experience.episodes))


@dataclass
class State:
    """What an update changes besides the policy: with the policy's weights and the seed, all that
    the next update depends on.
    """

    baseline: Baseline
    optimizer: torch.optim.Optimizer
    update: int = 0

    @classmethod
    def begin(
        cls, policy: Policy, environment: Environment, settings: Settings, seed: int = 0
    ) -> "State":
        """Nothing learnt yet."""
        trainable = [parameter for parameter in policy.parameters() if parameter.requires_grad]
        baseline = make_baseline(settings.baseline, environment, settings.gamma, seed)
        return cls(baseline, torch.optim.Adam(trainable, lr=settings.learning_rate))

    def save(self, folder: str | Path) -> None:
        """Write into a folder; trainer_state.json comes last, so a folder that has it is whole."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(
            {"baseline": self.baseline.state_dict(), "optimizer": self.optimizer.state_dict()},
            folder / "state.pt",
        )
        (folder / "trainer_state.json").write_text(
            json.dumps({"global_step": self.update}), encoding="utf-8"
        )

    def load(self, folder: str | Path) -> "State":
        """Take over what ``save`` wrote, and return itself; the policy's weights are its own to
        load, before ``begin``.
        """
        folder = Path(folder)
        if not (folder / "trainer_state.json").is_file():
            raise RunError(
                f"{folder} holds no state to go on from: expected state.pt and trainer_state.json"
                " in it"
            )
        saved = torch.load(folder / "state.pt", weights_only=True)
        self.baseline.load_state_dict(saved["baseline"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.update = read_json(folder / "trainer_state.json")["global_step"]
        return self


@dataclass
class Trained:
    """What a run of the loop leaves: its state, the metrics of each update, and why it stopped
    early, if it did.
    """

    state: State
    metrics: list[Metrics] = field(default_factory=list)
    stopped: str | None = None


def _seed(seed: int, update: int) -> int:
    """One seed for each update, so that a run goes on as if it had never stopped."""
    return int(np.random.SeedSequence([seed, update]).generate_state(1)[0])
