"""Looks at a policy on held-out prompts while it trains: how right it is, what the reward that
trains and the truth say of the same answers, and the best step by it.
"""

from typing import TYPE_CHECKING, Any

from llmpolicy.plan import Plan, evaluated_length, look_steps
from llmpolicy.run import Run
from llmpolicy.run.files import Record
from llmpolicy.run.looks import read_looks
from llmpolicy.stages.evaluation import chooses
from llmpolicy.stages.language import Loaded
from llmpolicy.stages.partner import talking
from llmpolicy.stages.trainers import shares_weights
from llmpolicy.terminal import Say

if TYPE_CHECKING:
    from llmpolicy.evaluation import Beside, Seen
    from llmpolicy.grpo.trainer import PolicyTrainer
    from llmpolicy.policies.causal_lm import CausalLMPolicy


def look_on(trainer: "PolicyTrainer", loaded: Loaded, run: Run | None) -> None:
    """Let the run be looked at on its way, and the policy be measured where the recipe asks for
    it.
    """
    from llmpolicy.diagnosis.live import Live
    from llmpolicy.grpo.callbacks import BestCheckpoint, Looks

    if run is not None:
        trainer.add_callback(Looks(Live(run, loaded.request.say)))
    plan, say, settings = loaded.plan, loaded.request.say, loaded.plan.recipe.evaluate
    if settings is None or plan.correct is None or not (settings.every or plan.truth):
        return
    if shares_weights(trainer):
        name = "truth" if plan.truth else "evaluate.every"
        say(f"{name} is left out: no process has all weights while FSDP or DeepSpeed trains")
        return
    measure = Measure(plan, loaded.policy, run, say)
    at_start = settings.curve or plan.truth is not None
    trainer.add_callback(
        BestCheckpoint(run, settings.every, measure, loaded.policy.save, at_start=at_start, say=say)
    )


class Measure:
    """What a look during training measures: greedy accuracy; where there is a truth, or with
    ``evaluate.curve``, proxy and truth on the same answers, and whether they part.
    """

    def __init__(self, plan: Plan, policy: "CausalLMPolicy", run: Run | None, say: Say) -> None:
        from llmpolicy.evaluation import Watch

        self.plan, self.policy, self.run, self.say = plan, policy, run, say
        self.settings, self.correct = plan.judged_by
        self.truth = plan.truth or self.correct
        length = evaluated_length(plan.recipe)
        self.asked: Record = {
            "batch_size": self.settings.batch_size,
            "max_new_tokens": length,
            "partner": talking(plan.recipe, policy, tokens=length),
        }
        self.rows, self.has_alarmed = plan.held_out, False
        self.watch: Watch | None = None
        self.beside: Beside | None = None
        if self.settings.curve:
            # What chooses the best step is not what then says how good it is.
            self.rows, how = chooses(plan.held_out), {"seed": plan.recipe.seed, **self.asked}
            self.watch = Watch(policy, self.rows, self.truth, plan.rewards, **how)

    def __call__(self, state: Any) -> Record:
        """The figures of a look at the policy as it is now; ``state`` is the trainer's."""
        from llmpolicy.evaluation import Seen, greedy_answers, known_mean, values_of, verdicts

        step = state.global_step
        answers = greedy_answers(self.policy, self.rows, **self.asked)
        values = values_of(self.correct, self.rows, answers)
        figures: Record = {"accuracy": known_mean(verdicts(values, self.settings.threshold)) or 0.0}
        if self.watch is not None:
            look = self.watch.look()
            figures |= look.to_dict()
            return figures | self._beside(Seen(step, look.proxies, look.truths), state)
        if self.plan.truth is None:
            return figures
        truths = values
        if self.truth is not self.correct:
            truths = values_of(self.truth, self.rows, answers)
        proxies = values_of(self.plan.rewards, self.rows, answers)
        figures |= {"proxy": known_mean(proxies), "truth": known_mean(truths)}
        return figures | self._beside(Seen(step, proxies, truths), state)

    def _beside(self, seen: "Seen", state: Any) -> Record:
        """Keep a look, and say so once when truth and proxy have parted."""
        if self.beside is None:
            self.beside = self._begun(state, before=seen.step)
        parting = self.beside.take(seen)
        if self.run is not None:
            self.run.log_look(seen.to_dict())
        if parting is not None and parting.is_alarm and not self.has_alarmed:
            self.has_alarmed = True
            self.say(
                f"alarm: {parting}; the policy of step {parting.best_step} is kept in best/; read"
                " what the reward pays that is wrong: check-reward"
            )
        return {"parted": 1.0 if parting is None else parting.p}

    def _begun(self, state: Any, before: int) -> "Beside":
        """What was seen before this start, where the run goes on."""
        from llmpolicy.evaluation import Beside, Seen

        earlier = [] if self.run is None else read_looks(self.run.path)
        size, seen = len(self.rows), list[Seen]()
        for look in earlier:
            if look["step"] < before and len(look["truth"]) == size == len(look["proxy"]):
                seen.append(Seen(look["step"], look["proxy"], look["truth"]))
        planned = len(look_steps(self.settings.every, state.max_steps, at_start=True))
        return Beside(planned, seen)
