"""Looks at a policy on held-out prompts while it trains: how right it is, what the reward that
trains and the truth say of the same answers, and the best step by it.
"""

from functools import partial
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
    from llmpolicy.evaluation import Partings, Seen
    from llmpolicy.grpo.trainer import PolicyTrainer
    from llmpolicy.policies.causal_lm import CausalLMPolicy


def look_on(trainer: "PolicyTrainer", loaded: Loaded, run: Run | None) -> None:
    """Let the run be looked at on its way, and the policy be measured where the recipe asks for
    it.
    """
    from llmpolicy.diagnosis.live import Live
    from llmpolicy.grpo.callbacks import BestCheckpoint, Looks
    from llmpolicy.grpo.tracking import Traces, alert, is_told_trackio, tell_trackers

    said: set[str] = set()
    if run is not None:
        live = Live(run, loaded.request.say, said=said)
        if is_told_trackio(trainer):
            live.listeners.append(alert)
            trainer.add_callback(Traces(lambda: trainer.generation.episodes, loaded.request.say))
        # The last look comes before a tracker is closed.
        trainer.callback_handler.callbacks.insert(0, Looks(live))
    plan, say, settings = loaded.plan, loaded.request.say, loaded.plan.recipe.evaluate
    if settings is None or plan.correct is None or not (settings.every or plan.truth):
        return
    if shares_weights(trainer):
        name = "truth" if plan.truth else "evaluate.every"
        say(f"{name} is left out: no process has all weights while FSDP or DeepSpeed trains")
        return
    measure = Measure(plan, loaded.policy, run, say, said)
    at_start = settings.curve or plan.truth is not None
    trainer.add_callback(
        BestCheckpoint(
            run,
            settings.every,
            measure,
            loaded.policy.save,
            at_start=at_start,
            say=say,
            report=partial(tell_trackers, trainer),
        )
    )


class Measure:
    """What a look during training measures: greedy accuracy; where there is a truth, or with
    ``evaluate.curve``, proxy and truth on the same answers, and whether they part; ``said`` gets
    the kind of finding that an alarm is.
    """

    def __init__(
        self, plan: Plan, policy: "CausalLMPolicy", run: Run | None, say: Say, said: set[str]
    ) -> None:
        from llmpolicy.evaluation import Watch

        self.plan, self.policy, self.run, self.say, self.said = plan, policy, run, say, said
        self.settings, self.correct = plan.judged_by
        self.truth = plan.truth or self.correct
        length = evaluated_length(plan.recipe)
        self.asked: Record = {
            "batch_size": self.settings.batch_size,
            "max_new_tokens": length,
            "partner": talking(plan.recipe, policy, tokens=length),
        }
        self.rows = plan.held_out
        self.watch: Watch | None = None
        self.partings: Partings | None = None
        if self.settings.curve:
            # What chooses the best step is not what then says how good it is.
            self.rows, how = chooses(plan.held_out), {"seed": plan.recipe.seed, **self.asked}
            self.watch = Watch(policy, self.rows, self.truth, plan.rewards, **how)

    def __call__(self, state: Any) -> Record:
        """The figures of a look at the policy as it is now; the run keeps them by prompt. ``state``
        is the trainer's.
        """
        from llmpolicy.evaluation import greedy_answers, known_mean, values_of, verdicts

        answers = greedy_answers(self.policy, self.rows, **self.asked)
        values = values_of(self.correct, self.rows, answers)
        right = verdicts(values, self.settings.threshold)
        figures: Record = {"accuracy": known_mean(right) or 0.0}
        kept: Record = {"step": state.global_step, "rows": [row.index for row in self.rows]}
        kept["right"] = right
        if self.watch is not None:
            look = self.watch.look()
            figures |= look.to_dict()
            kept |= {"proxy": look.proxies, "truth": look.truths}
        elif self.plan.truth is not None:
            kept["proxy"] = values_of(self.plan.rewards, self.rows, answers)
            is_other = self.truth is not self.correct
            kept["truth"] = values_of(self.truth, self.rows, answers) if is_other else values
            figures |= {name: known_mean(kept[name]) for name in ("proxy", "truth")}
        if "truth" in kept:
            figures["parted"] = self._parted(kept, state)
        if self.run is not None:
            self.run.log_look(kept)
        return figures

    def _parted(self, look: Record, state: Any) -> float:
        """How far chance explains that truth and proxy have parted; it is said once when it does
        not.
        """
        if self.partings is None:
            self.partings = self._begun(state)
        parting = self.partings.take(_seen(look))
        if parting is None:
            return 1.0
        if parting.is_alarm and "truth_falls" not in self.said:
            self.said.add("truth_falls")
            self.say(
                f"alarm: {parting}; the policy of step {parting.best_step} is kept in best/; read"
                " what the reward pays that is wrong: check-reward"
            )
        return parting.p

    def _begun(self, state: Any) -> "Partings":
        """What was seen before this start, where the run goes on."""
        from llmpolicy.evaluation import Partings

        earlier = [] if self.run is None else read_looks(self.run.path)
        rows = [row.index for row in self.rows]
        seen = []
        for look in earlier:
            if look["step"] < state.global_step and look["rows"] == rows and "truth" in look:
                seen.append(_seen(look))
        planned = len(look_steps(self.settings.every, state.max_steps, at_start=True))
        return Partings(planned, seen)


def _seen(look: Record) -> "Seen":
    from llmpolicy.evaluation import Seen

    return Seen(look["step"], look["proxy"], look["truth"])
