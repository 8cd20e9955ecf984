"""Which losses with which settings are compared: each in TRL's words and in the papers'."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.semantics import rows
from tests.semantics.papers import Answer, Batch, Floats, Objective, answer, correction

LOSSES = ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo")
SAMPLERS = ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask")
BOUNDS = (0.7, 1.1)
"""Of the weight for the engine that wrote: some rows and tokens lie outside on either side."""


@dataclass(frozen=True)
class Case:
    """A loss: ``objective`` says what a paper makes of the settings that TRL gets. ``sampler`` is the
    mode of the correction for the engine, ``cut`` masks completions without an end, ``tools`` masks
    what a tool wrote, ``by_token`` gives every token an advantage of its own, ``on_policy`` is one
    update a generation.
    """

    objective: Objective
    settings: dict[str, Any] = field(default_factory=dict)
    sampler: str | None = None
    cut: bool = False
    tools: bool = False
    by_token: bool = False
    on_policy: bool = False

    @property
    def batch(self) -> Batch:
        """What both are asked about."""
        mask = rows.counted(cut=self.cut, tools=self.tools)
        advantage = np.array(rows.ADVANTAGES)[:, None]
        if self.by_token:
            advantage = advantage * (1 + np.arange(rows.LENGTH)) / 2
        return rows.batch(mask, self._weight(mask), advantage, on_policy=self.on_policy)

    def _weight(self, mask: Floats) -> Floats:
        if self.sampler is None:
            return np.ones((len(mask), 1))
        old, _, engine = rows.others()
        return correction(old, engine, mask, self.sampler, *BOUNDS)

    @property
    def inputs(self) -> dict[str, Any]:
        """The batch as TRL takes it."""
        return rows.inputs(self.batch, on_policy=self.on_policy, tools=self.tools)

    def expected(self) -> tuple[Answer, Floats]:
        """The loss by the paper, and its gradient in the weights, (P,)."""
        found, own = answer(self.objective, self.batch), rows.policy()
        gradient = np.einsum("bt,btp->p", found.of_log_prob, own.of_log_prob)
        return found, gradient + np.einsum("bt,btp->p", found.of_entropy, own.of_entropy)


def _of(name: str, settings: dict[str, Any] | None = None, **objective: Any) -> Case:
    words = {
        "low": "epsilon", "high": "epsilon_high", "delta": "delta", "beta": "beta",
        "corrected": "use_bias_correction_kl", "top": "top_entropy_quantile", "bonus": "entropy_coef",
        "stale": "off_policy_mask_threshold",
    }  # fmt: skip
    given = {words[word]: value for word, value in objective.items() if word in words}
    if objective.get("sequence"):
        given["importance_sampling_level"] = "sequence"
    return Case(Objective(name, **objective), {"loss_type": name, **given, **(settings or {})})


def _also(case: Case, **changes: Any) -> Case:
    return Case(**{**vars(case), **changes})


def _plain(name: str) -> Case:
    """A loss as its paper has it."""
    return _of(name, **{"cispo": {"high": 1.4}, "luspo": {"sequence": True}}.get(name, {}))


def cases() -> dict[str, Case]:
    """By name: every loss as it is, and the settings of some."""
    plain = {name: _plain(name) for name in LOSSES}
    found = dict(plain)
    found |= {f"{name}, one update": _also(case, on_policy=True) for name, case in plain.items()}
    found |= {
        f"{name}, cut completions masked": _also(case, cut=True) for name, case in plain.items()
    }
    found |= {
        f"{name}, sequence": _of(name, sequence=True, low=0.05, high=0.1)
        for name in ("grpo", "dr_grpo", "dapo", "bnpo", "sapo")
    }
    found |= {
        f"{name}, KL": _of(name, beta=0.3, **vars_of(plain[name]))
        for name in ("grpo", "dapo", "cispo", "luspo", "vespo")
    }
    found |= {f"dapo, {mode}": _also(plain["dapo"], sampler=mode) for mode in SAMPLERS}
    found |= {
        "grpo, KL uncorrected": _of("grpo", beta=0.3, corrected=False),
        "grpo, sequence, KL": _of("grpo", beta=0.3, sequence=True),
        "dapo, clip .1 and .28": _of("dapo", low=0.1, high=0.28),
        "grpo, delta": _of("grpo", delta=1.3),
        "dapo, half the tokens by entropy": _of("dapo", top=0.5),
        "dapo, entropy bonus": _of("dapo", bonus=0.1),
        "grpo, entropy bonus and mask": _of("grpo", bonus=0.1, top=0.6),
        "dapo, stale completions masked": _of("dapo", stale=0.01),
        "dapo, tools": _also(plain["dapo"], tools=True),
        "grpo, tools": _also(plain["grpo"], tools=True),
        "gspo, tools": _also(_of("grpo", sequence=True), tools=True),
        "dapo, advantage of a token": _also(plain["dapo"], by_token=True),
        "vespo, sequence_truncate": _also(plain["vespo"], sampler="sequence_truncate"),
        "luspo, token": _of("luspo"),
        "dapo, KL and token_truncate": _also(_of("dapo", beta=0.3), sampler="token_truncate"),
    }  # fmt: skip
    return found


def vars_of(case: Case) -> dict[str, Any]:
    """What of its objective is not the usual."""
    usual = vars(Objective())
    return {k: v for k, v in vars(case.objective).items() if k != "name" and v != usual[k]}
