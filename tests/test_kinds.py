"""Adapters of every kind that PEFT has: a policy that is right by every law, or one sentence before
anything is trained.
"""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft import LoraConfig, PeftType, get_peft_model, inject_adapter_in_model
from peft.tuners.lora.config import KasaConfig, MontecloraConfig, VeloraConfig
from trl.trainer.utils import add_fused_lm_head

from llmpolicy.errors import PolicyError
from llmpolicy.policies import CausalLMPolicy
from llmpolicy.policies.causal_lm.fast.door import group_path
from llmpolicy.policies.causal_lm.fast.rows import Rows
from llmpolicy.policies.causal_lm.fast.score_groups import score_groups
from llmpolicy.policies.causal_lm.forward import bare, left_pad, right_pad
from llmpolicy.policies.causal_lm.kinds import _REFUSED, SERVED
from llmpolicy.policies.causal_lm.score import score
from scripts.zoo import build, cases
from tests import models

PROMPTS = ["7", "12+34=12+", "12+34=12+"]
ACTIONS = [[20, 30, 31, 4], [50, 20, 3], [60, 61, 62, 63, 64, 65, 4]]
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
Make = Callable[[], Any]


def lora(**settings: Any) -> Make:
    return lambda: LoraConfig(
        **{"task_type": "CAUSAL_LM", "r": 4, "target_modules": ALL, **settings}
    )


def other(name: str, **settings: Any) -> Make:
    return lambda: getattr(peft, name)(
        **{"task_type": "CAUSAL_LM", "target_modules": ALL, **settings}
    )


LORA: dict[str, Make] = {
    "plain": lora(),
    "rslora": lora(use_rslora=True),
    "dora": lora(use_dora=True),
    "patterns": lora(
        rank_pattern={"q_proj": 2}, alpha_pattern={"v_proj": 3}, layers_to_transform=[1]
    ),
    "embeddings": lora(target_modules=["q_proj", "embed_tokens"]),
    "tokens": lora(trainable_token_indices=[20, 30]),
    "whole head and embeddings": lora(modules_to_save=["embed_tokens", "lm_head"]),
    "whole head": lora(modules_to_save=["lm_head"]),
    "whole norms": lora(modules_to_save=["input_layernorm", "norm"]),
    "parameter": lora(target_modules=["q_proj"], target_parameters=["self_attn.o_proj.weight"]),
    "orthogonal": lora(init_lora_weights="orthogonal"),
    "mica": lora(init_lora_weights="mica"),
}
OTHERS: dict[str, Make] = {
    "IA3": other("IA3Config", feedforward_modules=["down_proj"]),
    "LOHA": other("LoHaConfig", r=2),
    "LOKR": other("LoKrConfig", r=2),
    "OFT": other("OFTConfig", r=0, oft_block_size=4),
    "BOFT": other("BOFTConfig", boft_block_size=4),
    "HRA": other("HRAConfig", r=2),
    "FOURIERFT": other("FourierFTConfig", n_frequency=8),
    "RANDLORA": other("RandLoraConfig", r=4),
    "VERA": other("VeraConfig", target_modules=["q_proj"], r=4),
    "MISS": other("MissConfig", r=4),
    "LN_TUNING": other("LNTuningConfig", target_modules=["input_layernorm", "norm"]),
    "VBLORA": other("VBLoRAConfig", r=2, num_vectors=8, vector_length=8, topk=2),
    "ROAD": other("RoadConfig", group_size=8),
    "TRAINABLE_TOKENS": other(
        "TrainableTokensConfig", target_modules=["embed_tokens"], token_indices=[20, 30]
    ),
    "HIRA": other("HiraConfig", r=2),
    "C3A": other("C3AConfig", target_modules=["q_proj", "o_proj"], block_size=4),
    "WAVEFT": other("WaveFTConfig", n_frequency=8),
    "DELORA": other("DeloraConfig", r=2),
    "GRALORA": other("GraloraConfig", r=4),
    "TINYLORA": other("TinyLoraConfig"),
    "PSOFT": other("PsoftConfig", r=2),
    "PEANUT": other("PeanutConfig"),
    "SUPERTUNING": other("SupertuningConfig"),
    "DEFT": other("DeftConfig"),
    "FROD": other("FrodConfig"),
    "GLORA": other("GloraConfig"),
    "UNILORA": other("UniLoraConfig"),
}


def move(policy: CausalLMPolicy, seed: int = 1) -> CausalLMPolicy:
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in policy.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=draw))
    return policy


def plain(model: Any, encoded: list[list[int]]) -> list[torch.Tensor]:
    """Row by row, by the model's own forward, without padding, cache or positions."""
    rows = []
    for prompt, action in zip(encoded, ACTIONS, strict=True):
        logits = model(input_ids=torch.tensor([prompt + action])).logits[0, len(prompt) - 1 : -1]
        rows.append(torch.log_softmax(logits, -1)[range(len(action)), action])
    return rows


def close(policy: CausalLMPolicy, expected: list[torch.Tensor], atol: float = 2e-5) -> None:
    with torch.no_grad():
        log_prob, mask = policy.log_prob(PROMPTS, ACTIONS)
    torch.testing.assert_close(log_prob[mask], torch.cat(expected).detach(), atol=atol, rtol=0)


def gradient(policy: CausalLMPolicy, loss: torch.Tensor) -> torch.Tensor:
    policy.model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None])


def by_groups(policy: CausalLMPolicy) -> torch.Tensor:
    (prompts, there), (actions, mask) = (
        pad(rows, 0, torch.device("cpu"))
        for pad, rows in ((left_pad, policy.encode(PROMPTS)), (right_pad, ACTIONS))
    )
    rows = Rows(torch.cat([prompts, actions], 1), torch.cat([there, mask], 1), actions.shape[1])
    return score_groups(policy.model, rows, 1.0).log_prob.sum()


SHARED = ("embeddings", "tokens", "whole head", "whole head and embeddings")
"""Kinds that change the embeddings or the head, which may be one tensor in the base."""


@pytest.mark.parametrize(
    ("kind", "tied"),
    [*((kind, False) for kind in LORA | OTHERS), *((kind, True) for kind in SHARED)],
)
def test_a_kind_that_is_served_is_right_by_every_law(kind: str, tied: bool, tmp_path: Path) -> None:
    base = models.model("llama", tie_word_embeddings=tied)
    encoded = CausalLMPolicy(copy.deepcopy(base), models.tokenizer()).encode(PROMPTS)
    without = plain(base, encoded)
    CausalLMPolicy(base, models.tokenizer()).save(tmp_path / "base")
    torch.manual_seed(0)
    policy = move(CausalLMPolicy(get_peft_model(base, (LORA | OTHERS)[kind]()), models.tokenizer()))
    policy.model.eval()
    expected = plain(policy.model, encoded)
    assert max(float((a - b).abs().max()) for a, b in zip(expected, without, strict=True)) > 0.02
    close(policy, expected)
    assert group_path(policy.model) is None
    wanted = gradient(policy, torch.cat(expected).sum())
    for loss in (policy.log_prob(PROMPTS, ACTIONS)[0].sum(), by_groups(policy)):
        assert (gradient(policy, loss) - wanted).norm() < 1e-4 * wanted.norm()
    with policy.adapter_off():
        close(policy, without)
    action = policy.act(PROMPTS, max_new_tokens=5, generator=torch.Generator().manual_seed(0))
    scored, mask = policy.log_prob(PROMPTS, action.value)
    torch.testing.assert_close(scored[mask], action.log_prob[mask], atol=1e-4, rtol=0)
    expected = [row.detach() for row in expected]
    policy.rehearse()
    policy.save(tmp_path / "adapter")
    policy.merge().save(tmp_path / "merged")
    close(CausalLMPolicy.load(tmp_path / "merged"), expected, 1e-4)
    again = CausalLMPolicy.load(tmp_path / "base", adapter=tmp_path / "adapter")
    close(again, expected)
    move(again, 2)
    reference = again.reference.log_prob(PROMPTS, ACTIONS)
    torch.testing.assert_close(reference[0][reference[1]], torch.cat(expected), atol=2e-5, rtol=0)


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("kind", SHARED)
def test_the_fused_head_is_used_where_it_sees_the_adapter(kind: str, tied: bool) -> None:
    """On a GPU it is asked for wherever the update takes TRL's own path, of the reference too."""
    base = models.model("llama", tie_word_embeddings=tied)
    policy = CausalLMPolicy(get_peft_model(base, LORA[kind]()), models.tokenizer())
    add_fused_lm_head(policy.model.get_base_model(), outputs=("log_probs", "entropy"))
    ids = (torch.arange(40) * 7919 % 101).view(2, 20)
    mask = torch.ones_like(ids)

    def log_prob(*, fused: bool) -> torch.Tensor:
        with torch.no_grad():
            return score(policy.model, ids, mask, 12, 1.0, entropy=True, fused=fused).log_prob

    with policy.adapter_off():
        without = log_prob(fused=True)
        torch.testing.assert_close(without, log_prob(fused=False), atol=2e-5, rtol=0)
    move(policy)
    torch.testing.assert_close(log_prob(fused=True), log_prob(fused=False), atol=2e-5, rtol=0)
    assert (log_prob(fused=True) - without).abs().max() > 0.02


VIRTUAL = {"target_modules": None, "num_virtual_tokens": 3}
WRONG: dict[str, tuple[Make, str]] = {
    "layer_replication": (
        lora(layer_replication=[[0, 2], [0, 2]]),
        "layer_replication .* not its base",
    ),
    "kasa": (lora(kasa_config=KasaConfig()), "kasa_config .* not its base"),
    "pissa": (lora(init_lora_weights="pissa"), "'pissa' changes the base"),
    "olora": (lora(init_lora_weights="olora"), "'olora' changes the base"),
    "alora": (lora(alora_invocation_tokens=[20]), "alora_invocation_tokens .* within a row"),
    "monteclora": (lora(monteclora_config=MontecloraConfig()), "monteclora_config .* at random"),
    "velora": (lora(velora_config=VeloraConfig()), "velora_config .* rows that lie side by side"),
    "lora_bias": (lora(lora_bias=True), "lora_bias .* no bias"),
    "bias": (lora(bias="all"), "bias is 'all'; expected 'none'"),
    "head": (lora(target_modules=["q_proj", "lm_head"]), "output head"),
    "adalora": (other("AdaLoraConfig", total_step=10), "ADALORA counts on a trainer"),
    "poly": (other("PolyConfig"), "POLY asks for a task"),
    "lily": (other("LilyConfig"), "LILY answers a row otherwise"),
    "pvera": (other("PveraConfig", target_modules=["q_proj"]), "PVERA draws at random"),
    "shadow": (other("ShadowConfig", target_modules=None), "SHADOW has a second network"),
    "prefix": (
        lambda: peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
        "PREFIX_TUNING puts",
    ),
    "prompt": (
        lambda: peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
        "PROMPT_TUNING puts",
    ),
    "module_dropout": (other("LoHaConfig", r=2, module_dropout=0.5), "still random in train mode"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_would_be_wrong_is_refused_before_it_is_trained_and_when_it_is_loaded(
    kind: str, tmp_path: Path
) -> None:
    make, sentence = WRONG[kind]
    base = models.model("llama")
    base.save_pretrained(tmp_path / "base"), models.tokenizer().save_pretrained(tmp_path / "base")
    given = get_peft_model(base, make())
    with pytest.raises(PolicyError, match=sentence) as caught:
        CausalLMPolicy(given, models.tokenizer())
    assert "\n" not in str(caught.value)
    assert (
        kind == "module_dropout" or group_path(given) is not None
    )  # also for who asks without a policy
    given.save_pretrained(tmp_path / "adapter")
    if kind != "module_dropout":  # that is taken out, as an adapter's dropout is
        with pytest.raises(PolicyError, match=sentence):
            CausalLMPolicy.load(tmp_path / "base", adapter=tmp_path / "adapter")


def test_every_kind_of_peft_is_known() -> None:
    virtual = {
        "PROMPT_TUNING",
        "MULTITASK_PROMPT_TUNING",
        "P_TUNING",
        "PREFIX_TUNING",
        "CPT",
        "CARTRIDGE",
    }
    assert {kind.value for kind in PeftType} - {*SERVED, *_REFUSED, *virtual} <= {
        "ADAMSS"
    }  # needs scikit-learn
    assert {"LORA", *OTHERS} == set(SERVED)


def nested() -> Any:
    return get_peft_model(
        get_peft_model(models.model("llama"), lora()()), lora()(), adapter_name="second"
    )


def on_the_first() -> Any:
    return get_peft_model(
        get_peft_model(models.model("llama"), lora()()).get_base_model(),
        lora(target_modules=["v_proj"])(),
    )


def of_two_kinds() -> Any:
    first = get_peft_model(models.model("llama"), lora(target_modules=["q_proj"])())
    return get_peft_model(
        first.get_base_model(), peft.IA3Config(target_modules=["q_proj"], feedforward_modules=[])
    )


def beside() -> Any:
    model = get_peft_model(models.model("llama"), lora()())
    model.add_adapter("other", lora()())
    return model


def injected() -> Any:
    return inject_adapter_in_model(lora()(), models.model("llama"))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (nested, "another adapter lies beside|on top of another"),
        (on_the_first, "on top of another"),
        (of_two_kinds, "on top of another"),
        (beside, r"another adapter lies beside the trained one \(other\)"),
        (injected, "that no PeftModel holds"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_second_adapter_is_refused(make: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(PolicyError, match=sentence):
        CausalLMPolicy(make(), models.tokenizer())


def test_an_adapter_that_changes_its_base_is_seen_though_no_setting_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What PEFT may do tomorrow: the base is looked at before and after."""
    stock = get_peft_model

    def changing(model: Any, *arguments: Any, **named: Any) -> Any:
        with torch.no_grad():
            model.model.layers[0].mlp.down_proj.weight.mul_(1.5)
        return stock(model, *arguments, **named)

    monkeypatch.setattr("llmpolicy.policies.causal_lm.adapter.get_peft_model", changing)
    with pytest.raises(PolicyError, match="with the adapter off the model is not its base"):
        CausalLMPolicy(models.model("llama"), models.tokenizer(), lora={"r": 4})


def test_layers_that_share_weights_are_not_merged_each_with_its_own_part() -> None:
    """Zamba's blocks share their weights, and each has an adapter of its own: their sum would be
    every block's.
    """
    network = build.build(build.small("zamba"))
    policy = CausalLMPolicy(network, models.tokenizer(alphabet=build.ALPHABET), lora={"r": 4})
    with pytest.raises(PolicyError, match="shared by several layers"):
        policy.merge()


@pytest.mark.parametrize("family", ["gemma3", "gemma3_text", "gpt2"])
def test_an_adapter_that_touches_neither_embeddings_nor_head_is_merged_into_a_base_that_stays_tied(
    family: str, tmp_path: Path
) -> None:
    policy = move(CausalLMPolicy(build.build(build.small(family)), cases.words(), lora={"r": 4}))
    prompts, actions = ["abc", "a"], [[5, 6, 7], [9]]
    expected = policy.log_prob(prompts, actions)[0].detach()
    merged = policy.merge()
    assert merged.model.get_output_embeddings().weight is merged.model.get_input_embeddings().weight
    assert (
        bare(policy.model).get_output_embeddings().weight
        is bare(policy.model).get_input_embeddings().weight
    )
    merged.rehearse()
    merged.save(tmp_path / "merged")
    again = CausalLMPolicy.load(tmp_path / "merged")
    assert again.model.get_output_embeddings().weight is again.model.get_input_embeddings().weight
    torch.testing.assert_close(
        again.log_prob(prompts, actions)[0].detach(), expected, atol=1e-4, rtol=0
    )


def test_full_weights_that_could_not_be_loaded_again_are_refused_when_saving_is_rehearsed() -> None:
    network = build.build(build.small("gemma3"))
    network.config.tie_word_embeddings = False  # the head is left out of the file all the same
    with pytest.raises(
        PolicyError, match="could not be loaded again once it is saved .*lm_head.weight"
    ):
        CausalLMPolicy(network, cases.words()).rehearse()


def moved_lora() -> Any:
    """A small Llama with an adapter that has moved."""
    model = get_peft_model(models.model("llama"), lora()()).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def off(model: Any) -> None:
    model.base_model.disable_adapter_layers()


def elsewhere(model: Any) -> None:
    model.add_adapter("ref", lora()())
    model.set_adapter("ref")


def base_too(model: Any) -> None:
    model.get_base_model().model.norm.weight.requires_grad_(True)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (off, "its adapter is switched off; expected enable_adapter_layers"),
        (elsewhere, r"the active adapter is ref; expected set_adapter\('default'\)"),
        (
            base_too,
            (
                r"weights of its base are to be trained too"
                r" \(base_model\.model\.model\.norm\.weight, 1 in all\)"
            ),
        ),
    ],
)
def test_an_adapter_that_is_not_what_acts_and_is_trained_is_refused(
    change: Any, sentence: str
) -> None:
    model = moved_lora()
    change(model)
    with pytest.raises(PolicyError, match=sentence):
        CausalLMPolicy(model, models.tokenizer())


def test_an_adapter_that_was_brought_to_16_bits_is_its_own_reference_and_rehearsed(
    tmp_path: Path,
) -> None:
    model = moved_lora().to(torch.bfloat16)
    pi = CausalLMPolicy(model, models.tokenizer())
    pi.rehearse()
    with torch.no_grad():
        found, _ = pi.log_prob(PROMPTS, ACTIONS)
        torch.testing.assert_close(pi.reference.log_prob(PROMPTS, ACTIONS)[0], found)


def test_a_setting_that_the_installed_peft_would_leave_out_is_refused(tmp_path: Path) -> None:
    CausalLMPolicy(models.model("llama"), models.tokenizer()).save(tmp_path / "base")
    model = moved_lora()
    model.save_pretrained(str(tmp_path / "adapter"))
    file = tmp_path / "adapter" / "adapter_config.json"
    content = json.loads(file.read_text()) | {
        "base_model_name_or_path": str(tmp_path / "base"),
        "use_warp": False,
    }
    file.write_text(json.dumps(content | {"warp_size": 16, "warp_config": None}))
    CausalLMPolicy.load(tmp_path / "base", adapter=tmp_path / "adapter")
    file.write_text(json.dumps(content | {"use_warp": True}))
    with pytest.raises(
        PolicyError, match="its use_warp is True, which the installed PEFT does not know"
    ):
        CausalLMPolicy.load(tmp_path / "base", adapter=tmp_path / "adapter")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"trainable_token_indices": [5000]}, "no adapter fits the model .*out of bounds"),
        ({"target_modules": "(q_proj"}, "no adapter fits the model .*unterminated subpattern"),
        ({"rank_pattern": {"(q": 2}}, "no adapter fits the model .*unterminated subpattern"),
        (
            {"modules_to_save": ["lm_haed"]},
            "modules_to_save name 'lm_haed', .*did you mean 'lm_head'",
        ),
    ],
)
def test_settings_that_fit_nothing_are_one_sentence(
    settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(PolicyError, match=sentence) as caught:
        CausalLMPolicy(models.model("llama"), models.tokenizer(), lora={"r": 4, **settings})
    assert "\n" not in str(caught.value)
