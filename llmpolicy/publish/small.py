"""What the card of a small policy says: the environment it was trained for, its returns, and how to
play an episode.
"""

from huggingface_hub import EvalResult, ModelCardData

from llmpolicy.publish.shown import Lines, Record, arguments, escape, framed

NOT_CHECKED = (
    "any environment, or version of it, other than the one above",
    "states that its own episodes do not come to",
)


def environment_name(recipe: Record) -> str:
    """The environment that a recipe names."""
    return str((recipe.get("environment") or {}).get("id"))


def head(repo: str, policy: str, recipe: Record, which: str) -> Lines:
    """What was trained, in one sentence."""
    moment = "the step with the best evaluation" if which == "best" else "the last step"
    return [
        f"# {escape(repo.rpartition('/')[2])}",
        "",
        (
            f"This is a policy ({escape(policy)}, a small network) for"
            f" {escape(environment_name(recipe))}, trained by reinforcement learning (REINFORCE):"
            f" the weights of {moment}, trained and published with llmpolicy."
        ),
    ]


def metadata(repo: str, recipe: Record, evaluation: Record | None) -> ModelCardData:
    """What the Hub reads of the card; ``evaluation`` is of the published weights."""
    name, evaluation, results = environment_name(recipe), evaluation or {}, []
    if measured := evaluation.get("return"):
        result = EvalResult(
            task_type="reinforcement-learning",
            dataset_type=name,
            dataset_name=name,
            metric_type="mean_reward",
            metric_name=f"greedy return, mean of {evaluation.get('n')} episodes",
            metric_value=round(float(measured["value"]), 4),
        )
        results.append(result)
    return ModelCardData(
        library_name="llmpolicy",
        pipeline_tag="reinforcement-learning",
        tags=["llmpolicy", "reinforcement-learning", "reinforce", name],
        model_name=repo.rpartition("/")[2],
        eval_results=results or None,
    )


def usage(repo: str, recipe: Record) -> Lines:
    """Python that loads the policy and plays one episode, greedily."""
    block = recipe.get("environment") or {}
    settings = {key: value for key, value in block.items() if key not in ("id", "count")}
    code = [
        "from huggingface_hub import snapshot_download",
        "from llmpolicy.environments.gymnasium import GymnasiumEnvironment",
        "from llmpolicy.policies.mlp import load_mlp_policy",
        "from llmpolicy.rollout import rollout",
        "",
        f"policy = load_mlp_policy(snapshot_download({repo!r}))",
        f"environment = GymnasiumEnvironment({block.get('id')!r}, count=1{arguments(settings)})",
        "print(rollout(policy, environment, greedy=True, seed=0).episodes[0].total)",
    ]
    return ["## How to use it", "", *framed(code, "python")]
