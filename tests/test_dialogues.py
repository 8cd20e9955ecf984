"""Dialogues: a state holds the tokens that were sampled, the loss counts the policy's own, and one
step is stock TRL's with its tool mask.
"""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from trl import GRPOTrainer

from llmpolicy.environments.dialogue import Dialogues, DrawnDialogues
from llmpolicy.environments.gymnasium import GymnasiumEnvironment
from llmpolicy.environments.prompts import PromptEnvironment
from llmpolicy.errors import RunError
from llmpolicy.evaluation.answers import complete, evaluating
from llmpolicy.evaluation.overoptimisation import Watch
from llmpolicy.grpo.dialogues import by_mean, weights_of_turns
from llmpolicy.grpo.groups import counting
from llmpolicy.policies.causal_lm.fast import head
from llmpolicy.policies.causal_lm.reading import Reader
from llmpolicy.policies.causal_lm.score import score
from llmpolicy.policies.mlp import build_mlp_policy
from llmpolicy.recipe import PolicyBlock
from llmpolicy.reinforce import Settings, reinforce
from llmpolicy.rewards import Rewards
from llmpolicy.rollout import rollout
from llmpolicy.run.episodes import episode_columns
from tests import talks, training

LOSSES = ("grpo", "dapo", "dr_grpo", "bnpo", "cispo", "sapo", "luspo", "vespo")


def played(name: str = "Echo", *, count: int = 6, seed: int = 0, **limits: Any) -> Any:
    policy = talks.policy()
    rows = training.rows()[:2] * (count // 2)
    partner = talks.partner(policy, name, **limits)
    there = Dialogues(partner, sorted(rows, key=lambda row: row.index), [0] * 3 + [1] * 3)
    return policy, rollout(policy, there, seed=seed).episodes


def test_each_turn_sees_what_was_sampled_and_what_was_said_and_nothing_else() -> None:
    policy, episodes = played()
    assert max(len(episode.turns) for episode in episodes) > 1
    for episode in episodes:
        dialogue = episode.dialogue
        held: list[int] = []
        for turn in episode.turns:
            assert turn.state[: len(held)] == held
            held = [*turn.state, *turn.action]
        assert dialogue.token_ids[: len(held)] == held
        own = [token for token, mine in zip(dialogue.token_ids, dialogue.own, strict=True) if mine]
        assert own == [token for turn in episode.turns for token in turn.action]
        ids, chosen = episode.tokens()
        start = len(episode.turns[0].state)
        assert held[start:] == ids
        assert list(dialogue.own[start : len(held)]) == chosen


def test_the_log_probability_of_every_decision_is_that_of_the_distribution_it_was_drawn_from() -> (
    None
):
    policy, episodes = played()
    for episode in episodes:
        for turn in episode.turns:
            for t, (token, noted) in enumerate(zip(turn.action, turn.log_probs, strict=True)):
                seen = policy.distribution([[*turn.state, *turn.action[:t]]])
                assert float(seen.log_prob(torch.tensor([token])).detach()) == pytest.approx(
                    noted, abs=1e-4
                )


def test_what_was_read_before_is_not_decoded_again_each_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoded: list[int] = []
    decode = Reader._decoded
    monkeypatch.setattr(
        Reader, "_decoded", lambda self, ids: decoded.append(len(ids)) or decode(self, ids)
    )
    _, episodes = played(turns=12)
    turns = [turn for episode in episodes for turn in episode.turns]
    states = sum(len(episode.turns[0].state) for episode in episodes)
    written = sum(len(turn.action) + 1 for turn in turns)  # a letter before each
    assert sum(decoded) <= states + 4 * written < sum(len(turn.state) for turn in turns)
    assert all(episode.turns[0].prompt for episode in episodes)


def test_members_of_a_group_begin_in_the_same_state() -> None:
    for name in ("Echo", "Dice"):
        _, episodes = played(name)
        begun = [episode.turns[0].state for episode in episodes]
        assert begun[0] == begun[1] == begun[2] != begun[3] == begun[4] == begun[5]


def test_the_same_seed_plays_the_same_dialogues() -> None:
    for name in ("Echo", "Dice"):
        texts = [[e.dialogue.messages for e in played(name, seed=3)[1]] for _ in range(2)]
        assert texts[0] == texts[1]


def test_what_is_paid_is_the_sum_of_the_turns() -> None:
    _, episodes = played()
    for episode in episodes:
        dialogue = episode.dialogue
        worths = [
            (sum(turn.action) + number) % 5 for number, turn in enumerate(episode.turns, start=1)
        ]
        if dialogue.ended == "done":
            assert dialogue.paid == sum(worths) == sum(dialogue.earned)
            assert list(dialogue.earned) == worths


def test_where_turns_alone_are_paid_the_whole_is_their_sum() -> None:
    _, episodes = played("Paying", turns=3)
    paid = {(e.dialogue.ended, e.dialogue.turns): e.dialogue.paid for e in episodes}
    assert paid[("turns", 3)] == 0 + 1 + 2
    _, episodes = played("Paying", turns=1)
    assert 0.0 in {episode.dialogue.paid for episode in episodes}  # which is not: not known


def stock(folder: Path, ours: Any, given: dict[str, Any], scores: list[float], **grpo: Any) -> Any:
    """Stock TRL on a copy of the policy, given the same dialogues by a rollout function."""
    policy = talks.policy()
    policy.model.load_state_dict(ours)
    args = training.config(folder, max_completion_length=60, **grpo)
    args.reward_weights = None
    from datasets import Dataset

    data = Dataset.from_dict({"prompt": ["1"] * 4})
    made = GRPOTrainer(
        model=policy.model,
        reward_funcs=[lambda **_: scores],
        args=args,
        train_dataset=data,
        processing_class=policy.tokenizer,
        rollout_func=lambda *_: copy.deepcopy(given),
        optimizers=training.sgd(policy.model),
    )
    made.train()
    return training.vector(policy.model)


@pytest.mark.parametrize("loss", LOSSES)
def test_one_step_is_stock_trls_with_its_tool_mask(tmp_path: Path, loss: str) -> None:
    grpo = {
        "loss_type": loss,
        **({"importance_sampling_level": "sequence"} if loss == "luspo" else {}),
    }
    policy = talks.policy()
    start = copy.deepcopy(policy.model.state_dict())
    trainer = talks.trainer(tmp_path / "ours", policy, "Echo", **grpo)
    kept: dict[str, Any] = {}
    converse = trainer.rollout_func

    def noted(*arguments: Any) -> dict[str, Any]:
        kept.update(converse(*arguments))
        return copy.deepcopy(kept)

    trainer.rollout_func = noted
    trainer.train()
    assert any(0 in mask for mask in kept["env_mask"])
    scores = [episode.score.value for episode in trainer.generation.episodes]
    moved = training.vector(policy.model)
    expected = stock(tmp_path / "stock", start, kept, scores, **grpo)
    begun = talks.policy()
    begun.model.load_state_dict(start)
    assert (moved - training.vector(begun.model)).abs().max() > 1e-4
    torch.testing.assert_close(moved, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("iterations", [1, 2])
def test_a_partner_that_never_answers_is_the_path_of_one_turn_bit_for_bit(
    tmp_path: Path, iterations: int
) -> None:
    moved = []
    for kind in ("talk", "answer"):
        policy = talks.policy()
        torch.manual_seed(0)
        how: dict[str, Any] = {"max_completion_length": 6, "num_iterations": iterations}
        if kind == "talk":
            limits = {"tokens": 6, "reply": None}
            made = talks.trainer(
                tmp_path / kind, policy, "Silent", rewards=[training.digest], limits=limits, **how
            )
        else:
            made = training.trainer(tmp_path / kind, policy, **how)
        made.train()
        moved.append(training.vector(policy.model))
    assert torch.equal(*moved)


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of how many tokens the output head was asked, pass after pass."""
    seen, true = list[int](), head.log_prob_of

    def noted(hidden: Any, weight: Any, bias: Any, labels: Any, *how: Any) -> Any:
        seen.append(len(labels))
        return true(hidden, weight, bias, labels, *how)

    monkeypatch.setattr(head, "log_prob_of", noted)
    return seen


def test_reference_and_old_log_probabilities_ask_no_head_for_what_the_environment_said(
    tmp_path: Path, sizes: list[int]
) -> None:
    policy = talks.policy()
    trainer = talks.trainer(tmp_path, policy, "Echo", beta=0.1, num_iterations=2)
    by_trl, seen = trainer._generate_and_score_completions, list[Any]()

    def noted(items: Any) -> Any:
        output = by_trl(items)
        ids = torch.cat([output["prompt_ids"], output["completion_ids"]], 1)
        mask = torch.cat([output["prompt_mask"], output["completion_mask"]], 1)
        width = output["completion_ids"].shape[1]
        with torch.no_grad():
            plain = score(policy.model, ids, mask, width, trainer.temperature).log_prob
        seen.append((output, plain * counting(output), list(sizes)))
        return output

    trainer._generate_and_score_completions = noted  # type: ignore[method-assign]
    trainer.train()
    output, expected, asked = seen[0]
    own = int(counting(output).sum())
    assert own < int(output["completion_mask"].sum())
    for name in ("old_per_token_logps", "ref_per_token_logps"):
        torch.testing.assert_close(output[name], expected, atol=1e-5, rtol=0)
    assert asked.count(own) == 2


def test_the_loss_of_an_evaluation_asks_for_no_more(tmp_path: Path, sizes: list[int]) -> None:
    trainer = talks.trainer(tmp_path, talks.policy(), "Echo", beta=0.1)
    trainer.model.eval()
    output = trainer._prepare_inputs([{"prompt": "", "row": row // 4} for row in range(8)])
    assert trainer.compute_loss(trainer.model, output).isfinite()
    assert sizes[-2:] == [int(counting(output).sum())] * 2  # the reference's, and the policy's


def test_what_was_read_of_a_dialogue_is_let_go_of_when_it_ends() -> None:
    policy = talks.policy()
    partner, rows = talks.partner(policy, "Echo"), training.rows()
    running: list[set[Any]] = []

    class Watched(Dialogues):
        def step(self, rows: Any, action: Any) -> Any:
            held = {(*turn.state, *turn.action) for turn in action.turns}
            assert set(memory.rows) == held
            running.append(held)
            return super().step(rows, action)

    with policy.remembering() as memory:
        rollout(policy, Watched(partner, rows * 2, [0, 1, 2, 3] * 2), seed=0)
        assert not memory.rows and not memory.counts
    assert len({*map(len, running)}) > 1  # some ended before others


def test_a_turn_is_compared_with_the_others_of_its_number() -> None:
    rewards = [[1.0, 2.0], [0.0, 0.0, 3.0], [5.0], [float("nan")]]
    weights = weights_of_turns(rewards, by_mean(deviation=False), 4)
    # returns: (3, 2), (3, 3, 3), (5,); the last could not be judged
    first = (3 + 3 + 5) / 3
    assert weights[0] == pytest.approx([3 - first, 2 - 2.5])
    assert weights[1] == pytest.approx([3 - first, 3 - 2.5, 0.0])  # one alone has nothing to beat
    assert weights[2] == pytest.approx([5 - first])
    assert weights[3] == [0.0]


def test_equal_returns_of_a_turn_weigh_exactly_nothing() -> None:
    for size in range(2, 33):
        rewards = [[0.0, 0.1]] * size
        assert weights_of_turns(rewards, by_mean(deviation=True), size) == [[0.0, 0.0]] * size


def test_returns_that_32_bits_cannot_tell_apart_weigh_differently() -> None:
    weights = weights_of_turns([[1e8], [1e8 + 1]], by_mean(deviation=False), 2)
    assert weights == [[-0.5], [0.5]]


def test_credit_by_turn_weighs_each_token_by_its_turn(tmp_path: Path) -> None:
    policy = talks.policy()
    trainer = talks.trainer(tmp_path, policy, "Echo", by_turn=True)
    seen: list[dict[str, Any]] = []
    improve = trainer.compute_loss

    def noted(model: Any, inputs: dict[str, Any], *rest: Any, **more: Any) -> Any:
        seen.append({name: inputs[name].clone() for name in ("advantages", "tool_mask")})
        return improve(model, inputs, *rest, **more)

    trainer.compute_loss = noted
    trainer.train()
    advantages = torch.cat([inputs["advantages"] for inputs in seen])
    assert advantages.dim() == 2
    assert any(len(set(row.tolist()) - {0.0}) > 1 for row in advantages)
    weights = [episode.weights for episode in trainer.generation.episodes]
    assert any(len(set(row)) > 1 for row in weights)


def test_an_episode_whose_environment_fails_is_not_judged(tmp_path: Path) -> None:
    policy = talks.policy()
    before = training.vector(policy.model)
    trainer = talks.trainer(tmp_path, policy, "Half", per_device_train_batch_size=16)
    trainer.train()
    episodes = trainer.generation.episodes
    failed = [episode for episode in episodes if episode.dialogue.failed]
    assert 0 < len(failed) < len(episodes)
    for episode in failed:
        assert episode.score.value is None
        assert "no such server" in episode.dialogue.why
        assert set(episode.weights) == {0.0}
    assert not torch.equal(before, training.vector(policy.model))


def test_an_environment_that_always_fails_ends_the_run(tmp_path: Path) -> None:
    trainer = talks.trainer(tmp_path, talks.policy(), "Counted")
    with pytest.raises(RunError, match="failed in all 8 dialogues: .*no answer to that"):
        trainer.train()


def test_the_rows_of_a_run_keep_every_turn() -> None:
    _, episodes = played()
    columns = episode_columns([e.judged(e.score).weighed(0.0) for e in episodes])
    rows = zip(columns["turns"], columns["ended"], episodes, strict=True)
    for turns, ended, episode in rows:
        assert [turn["own"] for turn in turns][:2] == [False, True]
        ids = [token for turn in turns for token in turn["token_ids"]]
        assert ids == [*episode.turns[0].state, *episode.tokens()[0]]
        assert sum(turn["own"] for turn in turns) == len(episode.turns)
        assert ended == episode.dialogue.ended


def test_one_rollout_plays_cartpole_a_prompt_and_a_dialogue() -> None:
    language, rows = talks.policy(max_new_tokens=6), training.rows()
    cartpole = GymnasiumEnvironment("CartPole-v1", count=4)
    prompts = PromptEnvironment(
        rows, Rewards([training.digest], isolate=False), prompts=2, group_size=2
    )
    dialogues = Dialogues(talks.partner(language, "Echo"), rows, [0, 1, 2, 3])
    network = build_mlp_policy(PolicyBlock(), cartpole, 0)
    for policy, environment in ((network, cartpole), (language, prompts), (language, dialogues)):
        episodes = rollout(policy, environment, seed=0).episodes
        assert [episode.group for episode in episodes] == list(environment.groups)
        for episode in episodes:
            assert episode.terminated or episode.truncated
            assert not any(turn.terminated or turn.truncated for turn in episode.turns[:-1])
            assert len(episode.rewards) == len(episode.turns)
    assert [len(episode.turns) for episode in rollout(language, prompts, seed=0).episodes] == [
        1
    ] * 4
    assert max(len(episode.turns) for episode in rollout(language, dialogues, seed=0).episodes) > 1


def test_reinforce_learns_from_dialogues() -> None:
    policy, rows = talks.policy(), training.rows()
    rewards = Rewards([{"fn": "environment:paid", "name": "environment"}], isolate=False)
    partner = talks.partner(policy, "Echo")
    environment = DrawnDialogues(partner, rows, rewards, prompts=2, group_size=4)
    before = training.vector(policy.model)
    seen: list[Any] = []
    settings = Settings(updates=2, learning_rate=1e-2, baseline="time_step")
    reinforce(policy, environment, settings, on_rollout=lambda _, played: seen.append(played))
    assert not torch.equal(before, training.vector(policy.model))
    for played in seen:
        for episode in played.episodes:
            if episode.score.value is not None:
                assert episode.score.value == pytest.approx(episode.dialogue.paid)
                assert sum(episode.rewards) == pytest.approx(episode.score.value)
                assert list(episode.rewards[:-1]) == list(episode.dialogue.earned[:-1])


def test_trls_own_sampler_holds_dialogues_too(tmp_path: Path) -> None:
    policy = talks.policy()
    trainer = talks.trainer(tmp_path, policy, "Echo", top_p=0.9)
    assert not trainer.ways.samples_itself
    trainer.train()
    episodes = trainer.generation.episodes
    assert max(len(episode.turns) for episode in episodes) > 1
    for episode in episodes:
        assert all(len(turn.action) <= 6 for turn in episode.turns)
        held: list[int] = []
        for turn in episode.turns:
            assert turn.state[: len(held)] == held
            held = [*turn.state, *turn.action]


def test_a_look_during_training_holds_dialogues() -> None:
    policy, rows = talks.policy(), training.rows()
    rewards = Rewards([{"fn": "environment:paid", "name": "environment"}], isolate=False)
    partner = talks.partner(policy, "Echo")
    seen = Watch(policy, rows, rewards, rewards, partner=partner).look()
    with evaluating(policy), torch.no_grad():
        draw = torch.Generator().manual_seed(0)
        episodes = complete(policy, rows, generator=draw, partner=partner)
    paid = [e.dialogue.paid for e in episodes if e.dialogue.paid is not None]
    assert max(len(episode.turns) for episode in episodes) > 1
    assert seen.proxy == seen.truth == pytest.approx(sum(paid) / len(paid))
