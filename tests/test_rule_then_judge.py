"""A rule first, a judge second: the judge is asked where the rule does not settle it, and nowhere
else.
"""

import asyncio

import pytest
from judge_server import always, serving

from llmpolicy.rewards import RewardError, Rewards, RewardSpec, Sample
from reward_fns import rule_then_judge

RIGHT, WRONG = "Answer: 42", "It must be six sevens, forty-two in all."


def score(server, completion, answer="42", rule="math_answer:correct", **more):
    judge = {"api_key_env": None, "canary_rate": 0}
    more = {
        "base_url": server.base_url,
        "model": "m",
        "judge": judge,
        "prompt": "What is 6 * 7?",
        **more,
    }
    return asyncio.run(rule_then_judge.score(completion, answer=answer, rule=rule, **more))


def test_what_the_rule_pays_is_paid_unasked_and_the_rest_is_asked():
    with serving(always("correct")) as server:
        told = score(server, RIGHT)
        assert (told.value, told.parsed, server.asked) == (
            1.0,
            "42",
            [],
        ) and "by math_answer:correct" in told.why
        told = score(server, WRONG)
        assert told.value == 1.0 and len(server.asked) == 1 and "by the judge" in told.why
    with serving(always("incorrect")) as server:
        assert score(server, WRONG).value == 0.0 and len(server.asked) == 1


def test_where_only_the_unread_is_asked_about_a_verdict_of_wrong_stands():
    with serving(always("correct")) as server:
        assert score(server, "Answer: 41", asks="unread").value == 0.0 and server.asked == []
        assert (
            score(server, RIGHT, answer="", asks="unread").value == 1.0 and len(server.asked) == 1
        )  # no gold to compare


def test_what_says_nothing_is_paid_by_neither():
    with serving(always("correct")) as server:
        assert [
            score(server, text).value for text in ("", ":", "<think>Answer: 42", "Solution")
        ] == [0.0] * 4
        assert server.asked == []


def test_the_rule_gets_its_columns_and_arguments_as_in_a_recipe():
    sources = ["Oslo is the capital of Norway.", "Rome lies on the Tiber."]
    with serving(always("incorrect")) as server:
        told = score(
            server,
            "Oslo [1].",
            answer=[1],
            rule="citation:score",
            sources=sources,
            rule_args={"quote": False},
        )
        assert told.value == 1.0 and server.asked == []
        with pytest.raises(RewardError, match="asks for 'sources', which is no column"):
            score(server, "Oslo [1].", answer=[1], rule="citation:score")
        spec = RewardSpec("rule_then_judge:score", args={
            "rule": "math_answer:correct", "rule_args": {"units": "ignore"}, "base_url": server.base_url, "model": "m",
            "judge": {"api_key_env": None, "canary_rate": 0},
        })  # fmt: skip
        rows = Rewards([spec]).score(
            [Sample("Answer: 42%", {"answer": "42"}), Sample("Answer: 41", {"answer": "42"})]
        )
        assert [row.value for row in rows] == [1.0, 0.0] and len(server.asked) == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"asks": "never"}, "got asks 'never'; expected 'unpaid' or 'unread'"),
        ({"rule": "math_anser:correct"}, "there is no module 'math_anser'"),
        ({"rule_args": {"unit": "ignore"}}, "takes no argument 'unit'; did you mean 'units'"),
        (
            {"judge": {"modell": "m"}},
            "got judge {'modell': 'm'}.*unexpected keyword argument 'modell'",
        ),
    ],
)
def test_wrong_arguments_are_refused_in_a_sentence(more, said):
    with serving(always("correct")) as server, pytest.raises(RewardError, match=said):
        score(server, WRONG, **more)
