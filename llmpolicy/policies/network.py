"""The network of the small policies: an MLP with a seeded initialisation, and its life on disk."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributions import Distribution

from llmpolicy.errors import PolicyError, nearest
from llmpolicy.types import Action

States = Sequence[Any] | Tensor
CONFIG, WEIGHTS = "config.json", "model.safetensors"


def mlp(sizes: Sequence[int], *, seed: int, final_gain: float) -> nn.Sequential:
    """A tanh network with layers of these sizes; ``final_gain`` scales its last layer, so a small
    one starts near 0.

    Orthogonal weights (Saxe et al. 2014, arXiv 1312.6120) and zero biases, drawn from ``seed``
    alone.
    """
    generator = torch.Generator().manual_seed(seed)
    gains = [math.sqrt(2)] * (len(sizes) - 2) + [final_gain]
    layers: list[nn.Module] = []
    for inputs, outputs, gain in zip(sizes[:-1], sizes[1:], gains, strict=True):
        layer = nn.utils.skip_init(nn.Linear, inputs, outputs)
        nn.init.orthogonal_(layer.weight, gain=gain, generator=generator)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def stack(rows: Sequence[Any] | Tensor) -> Tensor:
    """Rows as one tensor, whether they come as a list of 1-D tensors, as nested lists, or as a
    tensor already.
    """
    if isinstance(rows, Tensor):
        return rows
    if len(rows) and isinstance(rows[0], Tensor):
        return torch.stack(list(rows))
    return torch.as_tensor(rows)


class SmallPolicy(nn.Module):
    """A network with ``config``, the arguments that build it: what it takes to save it and to read
    it back.
    """

    config: dict[str, Any]

    def save(self, folder: str | Path) -> None:
        """Write the weights as safetensors beside a JSON file with the policy's class and
        configuration.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_file(
            {name: tensor.contiguous() for name, tensor in self.state_dict().items()},
            folder / WEIGHTS,
        )
        text = json.dumps({"policy": type(self).__name__, **self.config}, indent=2)
        (folder / CONFIG).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read back what ``save`` wrote; raises PolicyError when the folder holds another policy or
        none.
        """
        policy: Self = load(folder, [cls])
        return policy


def decided(value: Tensor, log_prob: Tensor | None = None) -> Action:
    """Actions of one decision each, (B, ...), and how likely they were, (B, 1)."""
    mask = torch.ones(len(value), 1, dtype=torch.bool)  # (B, 1)
    return Action(value, log_prob, mask, mask.squeeze(1))


def likely(pi: Distribution, actions: States) -> tuple[Tensor, Tensor]:
    """log π(a | s) of actions of one decision each, and their mask, both (B, 1)."""
    log_prob = pi.log_prob(stack(actions)).unsqueeze(1)  # (B, 1)
    return log_prob, torch.ones_like(log_prob, dtype=torch.bool)


def load(folder: str | Path, classes: Sequence[type[SmallPolicy]]) -> Any:
    """The policy that was saved in a folder, one of ``classes``; raises PolicyError when it holds
    another or none.
    """
    folder = Path(folder)
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        weights = load_file(folder / WEIGHTS)
    except FileNotFoundError as error:
        raise PolicyError(
            f"{folder} holds no saved policy: expected {CONFIG} and {WEIGHTS} in it"
        ) from error
    known = {kind.__name__: kind for kind in classes}
    name = config.pop("policy", None)
    if name not in known:
        raise PolicyError(f"{folder / CONFIG}: found policy {name!r}{nearest(str(name), known)}")
    policy = known[name](**config)
    policy.load_state_dict(weights)
    return policy
