"""The laws of the small policies: what they say of an action is what they do, and saving loses
nothing.
"""

import math
from pathlib import Path

import pytest
import torch

from llmpolicy.environments.gymnasium import GymnasiumEnvironment
from llmpolicy.errors import PolicyError, RecipeError
from llmpolicy.policies import CategoricalMLP, DeterministicPolicy, GaussianMLP, Policy
from llmpolicy.policies.mlp import MLPPolicy, build_mlp_policy, load_mlp_policy
from llmpolicy.recipe import PolicyBlock, make_recipe

STATES = torch.linspace(-1, 1, 15).view(5, 3)  # (B, obs_dim)


def categorical() -> CategoricalMLP:
    """Three actions, far from equally likely."""
    policy = CategoricalMLP(3, 3, hidden=(8,), seed=1)
    with torch.no_grad():
        policy.logits[-1].weight.mul_(100)
        policy.logits[-1].bias.copy_(torch.tensor([0.5, -1.0, 0.2]))
    return policy


def gaussian() -> GaussianMLP:
    """Two action numbers with different means and deviations."""
    policy = GaussianMLP(3, 2, hidden=(8,), seed=1)
    with torch.no_grad():
        policy.mean[-1].weight.mul_(100)
        policy.log_std.copy_(torch.tensor([-0.7, 0.4]))
    return policy


@pytest.fixture(params=[categorical, gaussian])
def policy(request: pytest.FixtureRequest) -> CategoricalMLP | GaussianMLP:
    made: CategoricalMLP | GaussianMLP = request.param()
    return made


def test_log_prob_is_that_of_the_distribution(policy: CategoricalMLP | GaussianMLP) -> None:
    action = policy.act(STATES, generator=torch.Generator().manual_seed(0))
    log_prob, mask = policy.log_prob(STATES, action.value)
    assert log_prob.shape == mask.shape == action.log_prob.shape == action.mask.shape == (5, 1)
    assert mask.all()
    assert action.terminated.shape == (5,)
    assert torch.equal(log_prob.squeeze(1), policy.distribution(STATES).log_prob(action.value))
    assert torch.equal(log_prob.detach(), action.log_prob)
    assert isinstance(policy, Policy)


def test_categorical_log_prob_is_a_log_softmax() -> None:
    policy = categorical()
    actions = torch.tensor([0, 1, 2, 1, 0])
    expected = policy.logits(STATES).log_softmax(1)[torch.arange(5), actions]
    assert torch.allclose(policy.log_prob(STATES, actions)[0].squeeze(1), expected, atol=1e-6)


def test_gaussian_log_prob_is_the_density_of_independent_normals() -> None:
    policy = gaussian()
    actions = torch.linspace(-2, 2, 10).view(5, 2)
    mean, std = policy.mean(STATES).tolist(), policy.log_std.exp().tolist()
    for row, found in enumerate(policy.log_prob(STATES, actions)[0].squeeze(1).tolist()):
        parts = [
            -((a - m) ** 2) / (2 * s**2) - math.log(s * math.sqrt(2 * math.pi))
            for a, m, s in zip(actions[row].tolist(), mean[row], std, strict=True)
        ]
        assert found == pytest.approx(sum(parts), abs=1e-5)


def test_categorical_samples_follow_the_distribution() -> None:
    """χ² with 2 degrees of freedom exceeds −2 ln ε with probability ε; here ε = 1e-6."""
    policy, n = categorical(), 300_000
    expected = policy.distribution(STATES[:1]).probs.squeeze(0) * n  # (3,)
    drawn = policy.act(STATES[:1].expand(n, 3), generator=torch.Generator().manual_seed(3)).value
    chi_square = ((torch.bincount(drawn, minlength=3) - expected) ** 2 / expected).sum()
    assert chi_square < -2 * math.log(1e-6)


def test_gaussian_samples_follow_the_distribution() -> None:
    """Mean and variance of each number lie within 5 standard errors, which fails by chance in 3 of
    1e6 runs.
    """
    policy, n = gaussian(), 30_000
    drawn = policy.act(
        STATES[:1].expand(n, 3), generator=torch.Generator().manual_seed(3)
    ).value  # (n, 2)
    mean, variance = policy.mean(STATES[:1]).squeeze(0), policy.log_std.exp() ** 2
    assert ((drawn.mean(0) - mean).abs() < 5 * (variance / n).sqrt()).all()
    assert ((drawn.var(0) - variance).abs() < 5 * variance * math.sqrt(2 / n)).all()


def test_greedy_takes_the_mode_and_draws_nothing(policy: CategoricalMLP | GaussianMLP) -> None:
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    greedy = policy.act(STATES, greedy=True, generator=generator).value
    assert torch.equal(generator.get_state(), before)
    others = policy.act(STATES, generator=generator).value
    assert (policy.log_prob(STATES, greedy)[0] >= policy.log_prob(STATES, others)[0]).all()
    mode = (
        policy.logits(STATES).argmax(1)
        if isinstance(policy, CategoricalMLP)
        else policy.mean(STATES)
    )
    assert torch.equal(greedy, mode)


def test_the_generator_alone_decides_what_is_drawn(policy: CategoricalMLP | GaussianMLP) -> None:
    states = STATES.repeat(20, 1)
    first, again, other = (
        policy.act(states, generator=torch.Generator().manual_seed(s)).value for s in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_rows_may_come_as_a_list(policy: CategoricalMLP | GaussianMLP) -> None:
    actions = policy.act(STATES, greedy=True).value
    whole = policy.log_prob(STATES, actions)[0]
    assert torch.equal(policy.log_prob(list(STATES), list(actions))[0], whole)
    assert torch.equal(policy.log_prob(STATES.tolist(), actions.tolist())[0], whole)


def test_saving_and_loading_keeps_every_log_prob(
    policy: CategoricalMLP | GaussianMLP, tmp_path: Path
) -> None:
    policy.save(tmp_path)
    actions = policy.act(STATES, greedy=True).value
    for read in (load_mlp_policy(tmp_path), type(policy).load(tmp_path)):
        assert type(read) is type(policy)
        assert torch.equal(read.log_prob(STATES, actions)[0], policy.log_prob(STATES, actions)[0])


def test_a_deterministic_policy_acts_like_the_mean_of_its_gaussian(tmp_path: Path) -> None:
    policy = DeterministicPolicy.from_gaussian(gaussian())
    action = policy.act(STATES, generator=torch.Generator().manual_seed(0))
    assert torch.equal(action.value, gaussian().act(STATES, greedy=True).value)
    assert torch.equal(action.value, policy.act(STATES, greedy=True).value)
    assert action.log_prob is None
    assert action.mask.shape == (5, 1)
    policy.save(tmp_path)
    assert torch.equal(load_mlp_policy(tmp_path).act(STATES).value, action.value)


def test_a_deterministic_policy_says_that_it_has_no_log_prob() -> None:
    policy = DeterministicPolicy(3, 2)
    with pytest.raises(PolicyError, match="no log-probability; train a GaussianMLP"):
        policy.log_prob(STATES, policy.act(STATES).value)
    with pytest.raises(PolicyError, match="no distribution; use GaussianMLP"):
        policy.distribution(STATES)


def test_the_weights_follow_from_the_seed_alone() -> None:
    before = torch.get_rng_state()
    first, again, other = (CategoricalMLP(3, 3, seed=seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["logits.0.weight"], other["logits.0.weight"])


def test_an_untrained_policy_prefers_nothing() -> None:
    assert torch.allclose(
        CategoricalMLP(3, 4).distribution(STATES).probs, torch.full((5, 4), 0.25), atol=0.01
    )
    assert GaussianMLP(3, 2, std=0.5).distribution(STATES).stddev.tolist() == [[0.5, 0.5]] * 5


@pytest.mark.parametrize(
    ("name", "kind", "block"),
    [
        ("CartPole-v1", CategoricalMLP, {"hidden": [4]}),
        ("Pendulum-v1", GaussianMLP, {"hidden": [4], "std": 0.5}),
    ],
)
def test_the_environment_decides_which_policy_is_built(
    name: str, kind: type[MLPPolicy], block: dict[str, object]
) -> None:
    environment = GymnasiumEnvironment(name, 2)
    policy = build_mlp_policy(PolicyBlock.model_validate(block), environment, seed=3)
    assert type(policy) is kind
    assert policy.config["hidden"] == [4]
    states = environment.reset(0)
    assert len(environment.step([0, 1], policy.act(states)).rewards) == 2


def test_a_setting_that_the_policy_does_not_have_is_refused() -> None:
    environment = GymnasiumEnvironment("CartPole-v1", 1)
    with pytest.raises(RecipeError, match="'std' is no setting of the categorical policy"):
        build_mlp_policy(PolicyBlock(std=1.0), environment)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"hiden": [4]}, "unknown key 'hiden' in policy; did you mean 'hidden'"),
        ({"hidden": 64}, "policy.hidden: input should be a valid list; found 64"),
        ({"hidden": [64, 0]}, "policy.hidden.1: input should be .*; found 0"),
        ({"std": 0}, "policy.std: input should be greater than 0; found 0"),
    ],
)
def test_a_value_that_makes_no_sense_is_one_sentence(
    block: dict[str, object], message: str
) -> None:
    loop = {"updates": 1, "learning_rate": 0.1, "baseline": "time_step"}
    with pytest.raises(RecipeError, match=message):
        make_recipe({"environment": {"id": "Pendulum-v1"}, "policy": block, "reinforce": loop})


def test_a_folder_without_that_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        PolicyError, match="holds no saved policy: expected config.json and model.safetensors"
    ):
        load_mlp_policy(tmp_path)
    gaussian().save(tmp_path)
    with pytest.raises(
        PolicyError, match="found policy 'GaussianMLP'; expected one of: CategoricalMLP"
    ):
        CategoricalMLP.load(tmp_path)
