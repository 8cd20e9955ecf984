"""The KL term of TRL's loss in expectation over every completion, against the exact ∇KL."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.oracle import estimators, world
from tests.oracle.estimators import ESTIMATORS, Asked
from tests.oracle.world import LENGTH, Floats, Prompt


def expected(folder: Path, prompt: Prompt, reference: Prompt, corrected: bool) -> Floats:
    """The mean of ∂(KL term)/∂θ, summed over tokens, with advantages of 0 and beta 1."""
    asked = Asked(folder, ESTIMATORS["Dr.GRPO: mean of the group"], [prompt])
    trainer = asked.trainer
    trainer.beta, trainer.args.use_bias_correction_kl = 1.0, corrected
    asked.leaf = torch.tensor(prompt.log_prob, requires_grad=True)
    count = len(prompt.reward)
    ids = torch.ones(count, LENGTH, dtype=torch.long)
    inputs = {
        "prompt_ids": ids[:, :1], "prompt_mask": ids[:, :1], "completion_ids": ids,
        "completion_mask": torch.tensor(prompt.mask).long(), "advantages": torch.zeros(count).double(),
        "old_per_token_logps": torch.tensor(prompt.log_prob),
        "ref_per_token_logps": torch.tensor(reference.log_prob),
        "num_items_in_batch": torch.tensor(prompt.mask.sum()),
    }  # fmt: skip
    loss = trainer._compute_loss(trainer.model, inputs)
    slope = torch.autograd.grad(loss, asked.leaf)[0].numpy() * count * LENGTH
    return np.asarray(np.einsum("b,bt,btp->p", prompt.probability, slope, prompt.score))


def by_token(prompt: Prompt, coefficient: Floats) -> Floats:
    """Σ_y π(y) Σ_t c_t ∇ log π_t."""
    weight = coefficient * prompt.mask
    return np.asarray(np.einsum("b,bt,btp->p", prompt.probability, weight, prompt.score))


@pytest.mark.parametrize("corrected", [True, False])
def test_the_kl_term_follows_the_divergence_of_each_token_and_without_its_correction_the_other_one(
    tmp_path: Path, corrected: bool
) -> None:
    """With ``use_bias_correction_kl`` ∇ KL(π ‖ reference) of the next token, prefixes held; without
    it ∇ KL(reference ‖ π), whose sign of log-ratio is the other way round. Neither is ∇KL of whole
    completions, which also moves the prefixes: log(π/reference) of all tokens together.
    """
    references = world.world(world.model())
    later = world.world(world.moved(world.model(), estimators.exact(references), 0.1))
    for prompt, reference in zip(later, references, strict=True):
        log_ratio = (prompt.log_prob - reference.log_prob) * prompt.mask
        found = expected(tmp_path, prompt, reference, corrected)
        law = by_token(prompt, log_ratio if corrected else -np.expm1(-log_ratio))
        np.testing.assert_allclose(found, law, rtol=1e-4, atol=1e-6)
        whole = by_token(prompt, np.repeat(log_ratio.sum(1, keepdims=True), LENGTH, 1))
        cosine = found @ whole / np.linalg.norm(found) / np.linalg.norm(whole)
        assert 0.98 < cosine < 0.999
