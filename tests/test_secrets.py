"""No secret leaves with a model, and none is kept with a run: every form, any file, any encoding;
honest texts pass.
"""

import base64
import gzip
import html
import json
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from llmpolicy.errors import PublishError, RecipeError
from llmpolicy.publish import publish
from llmpolicy.publish.files import check_folder
from llmpolicy.recipe.load import make_recipe
from llmpolicy.run import Run, redact
from llmpolicy.secrets import secret_in, values_of
from tests.models import model, tokenizer
from tests.secret_forms import BEGIN, FORMS, HEX, HONEST, PW, b64, rnd
from tests.test_publish import EVALUATION, NAME, make_run

ENCODINGS: dict[str, Callable[[str], str]] = {
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 of more": lambda text: base64.b64encode(f"xy {text} z".encode()).decode(),
    "base64 of addresses": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64 twice": lambda text: base64.b64encode(base64.b64encode(text.encode())).decode(),
    "gzip": lambda text: base64.b64encode(gzip.compress(text.encode())).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
    "hexadecimal escapes": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()),
    "percent, where needed": lambda text: urllib.parse.quote(text, safe=""),
    "percent": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "JSON escapes": lambda text: "".join(f"\\u{ord(sign):04x}" for sign in text),
    "JSON": lambda text: json.dumps({"note": text}),
    "HTML": lambda text: "".join(f"&#{ord(sign)};" for sign in text),
    "escaped HTML": html.escape,
    "Markdown": lambda text: text.replace("_", "\\_").replace("-", "\\-"),
    "two lines": lambda text: f"{text[: len(text) // 2]}\n    {text[len(text) // 2 :]}",
    "a line that goes on": lambda text: f"{text[: len(text) // 2]}\\\n{text[len(text) // 2 :]}",
    "two strings": lambda text: f'"{text[: len(text) // 2]}"\n    "{text[len(text) // 2 :]}"',
    "an unseen sign": lambda text: f"{text[:5]}\u200b{text[5:]}",
}


@pytest.mark.parametrize("kind", FORMS)
def test_every_form_is_found_and_said_without_its_text(kind: str) -> None:
    secret = FORMS[kind]
    said = secret_in(f"It is {secret} there.")
    assert said is not None
    assert secret not in said
    assert redact(f"It is {secret} there.") != f"It is {secret} there."


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_form_is_found_behind_an_encoding(encoding: str) -> None:
    """One call for all would find the first alone; a third of the forms is asked under each,
    another third under the next.
    """
    part = list(ENCODINGS).index(encoding) % 3
    hidden = {
        kind: ENCODINGS[encoding](secret)
        for kind, secret in list(FORMS.items())[part::3]
        if kind != "passwd_cli"
    }
    assert [kind for kind, text in hidden.items() if secret_in(f"see {text} there") is None] == []


@pytest.mark.parametrize("text", HONEST)
def test_honest_texts_pass(text: str) -> None:
    assert secret_in(text) is None
    assert secret_in(f"{text}\n" * 3) is None


# The environment

SECRET_VARIABLES = {
    "HF_TOKEN": rnd(20), "AWS_SECRET_ACCESS_KEY": b64(30), "DATABASE_URL": f"postgres://u:{PW}@db/x", "PGPASSWORD": PW,
    "STRIPE_KEY": rnd(24), "SMTP_PASS": PW, "SECRET_KEY_BASE": rnd(64, HEX), "REDIS_URL": f"redis://:{PW}@h:6379/0",
    "SENTRY_DSN": f"https://{rnd(32, HEX)}@o1.example.com/2", "GH_PAT": rnd(40), "AZURE_CONN": f"Server=db;Password={PW};",
    "NPM_AUTH": rnd(36), "KAGGLE_KEY": rnd(32, HEX), "DJANGO_SECRET": rnd(50), "MYSQL_PWD": PW, "WANDB_API_KEY": rnd(40, HEX),
    "SIGNING_KEY_PEM": f"{BEGIN}PRIVATE KEY-----\n{b64(48)}\n{b64(40)}\n", "TWILIO_AUTH_TOKEN": rnd(32, HEX),
    "SESSION_COOKIE": rnd(26),
    "GOOGLE_CREDENTIALS": json.dumps({"private_key": rnd(64)}), "MY_SERVICE": "sk-" + rnd(30),
    "PASSPHRASE": "correct-horse-battery",
}  # fmt: skip
OPEN_VARIABLES = {
    "HOME": "/home/somebody", "PWD": "/srv/work/here", "SSH_AUTH_SOCK": "/run/user/1000/agent", "TOKENIZERS_PARALLELISM": "false",
    "WANDB_API_KEY": "disabled", "HF_TOKEN_PATH": "/home/x/token", "GPG_KEY": "A" * 40, "PATH": "/usr/bin:/bin",
    "HF_TOKEN": "dummy",
    "KEYBOARD": "qwerty-layout", "XDG_SESSION_TYPE": "wayland-session", "GITHUB_SHA": "ab12" * 10, "MODEL": "HuggingFaceTB/SmolLM2",
    "SECRET_FILE": "/run/secrets/x", "PYTHON_KEYRING_BACKEND": "keyring.backends.null", "LANG": "en_US.UTF-8",
    "USE_AUTH": "disabled",
}  # fmt: skip


@pytest.mark.parametrize("name", SECRET_VARIABLES)
def test_what_a_variable_keeps_secret_is_found(name: str) -> None:
    values = tuple(values_of({name: SECRET_VARIABLES[name]}))
    assert values
    secret = min((text for _, text in values), key=len)
    for text in (
        secret,
        base64.b64encode(f"x: {secret}".encode()).decode(),
        urllib.parse.quote(secret, safe=""),
        secret.encode().hex(),
    ):
        assert secret_in(f"see ({text}).", values) is not None
    assert secret not in redact_with(f"train --x={secret}", {name: SECRET_VARIABLES[name]})


def redact_with(text: str, environment: dict[str, str]) -> str:
    from llmpolicy import secrets

    return secrets.redact(text, secrets.values_of(environment))


def test_other_variables_are_no_secrets() -> None:
    assert tuple(values_of(OPEN_VARIABLES)) == ()


def test_a_short_value_is_met_only_as_a_word_and_in_no_vocabulary() -> None:
    values = (("PGPASSWORD", "swordfish"),)
    assert secret_in("swordfishes", values) is None
    assert secret_in("a swordfish", values, forms_only=True) is None
    assert secret_in("a swordfish", values) == "the value of $PGPASSWORD"


# In what is published


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    model("llama", seed=1).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def run(tmp_path: Path, weights: Path) -> Run:
    return make_run(tmp_path / "run", weights, weights)


def in_json(run: Run, name: str, **content: Any) -> None:
    file = run.policy_dir / name
    file.write_text(
        json.dumps({**(json.loads(file.read_text()) if file.exists() else {}), **content})
    )


def in_weights(run: Run, secret: str, **metadata: str) -> None:
    file = run.policy_dir / "model.safetensors"
    bytes_of_it = torch.frombuffer(bytearray(f"  {secret}  ".encode()), dtype=torch.uint8)
    save_file(
        {**load_file(file), **({} if metadata else {"zz": bytes_of_it})},
        file,
        metadata={"format": "pt", **metadata},
    )


def in_vocabulary(run: Run, secret: str) -> None:
    content = json.loads((run.policy_dir / "tokenizer.json").read_text())
    content["model"]["vocab"][secret] = 1000
    in_json(run, "tokenizer.json", model=content["model"])


def in_sentencepiece(run: Run, secret: str) -> None:
    (run.policy_dir / "spiece.model").write_bytes(b"\0\xff" + secret.encode() + b"\0")


PLACES: dict[str, tuple[str, Callable[[Run, str], Any]]] = {
    "a prompt": ("recipe.yaml", lambda run, secret: run.recipe["task"][0].update(system=f"Say {secret} now.")),
    "an argument": ("recipe.yaml", lambda run, secret: run.recipe["rewards"][0].update(args={"x": [{"y": secret}]})),
    "a key": ("recipe.yaml", lambda run, secret: run.recipe["rewards"][0].update(args={secret: 1})),
    "a command": ("llmpolicy_manifest.json", lambda run, secret: run.manifest.update(command=f"llmpolicy train x.y={secret}")),
    "an evaluation": ("evaluation.json", lambda run, secret: run.write_evaluation({**EVALUATION, "note": secret})),
    "a template": ("chat_template.jinja", lambda run, secret: (run.policy_dir / "chat_template.jinja").write_text(secret)),
    "a configuration": ("config.json", lambda run, secret: in_json(run, "config.json", deep=[{"x": secret}])),
    "a tokenizer": ("tokenizer.json", lambda run, secret: in_json(run, "tokenizer.json", note=secret)),
    "a vocabulary": ("tokenizer.json", in_vocabulary),
    "merges": ("merges.txt", lambda run, secret: (run.policy_dir / "merges.txt").write_text(f"a b\n{secret} c\n")),
    "a sentencepiece": ("spiece.model", in_sentencepiece),
    "notes of weights": ("model.safetensors", lambda run, secret: in_weights(run, secret, note=secret)),
    "weights": ("model.safetensors", in_weights),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_in_any_file_stops_the_publication_and_is_not_repeated(
    place: str, run: Run
) -> None:
    file, plant = PLACES[place]
    secret = FORMS["anthropic"] if place != "a key" else FORMS["ghp"]
    plant(run, secret)
    with pytest.raises(
        PublishError, match=rf"^{file} holds what looks like a secret \(.*\); remove it there"
    ) as refused:
        publish(run, NAME, dry_run=True)
    assert secret not in str(refused.value)


@pytest.mark.parametrize("place", PLACES)
def test_a_value_of_the_environment_stops_it_as_well(
    place: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of no known form, and of no random looks."""
    monkeypatch.setenv("OUR_SECRET", "correct-horse-battery-staple")
    file, plant = PLACES[place]
    plant(run, "correct-horse-battery-staple")
    with pytest.raises(
        PublishError, match=rf"^{file} holds the value of \$OUR_SECRET; remove it there"
    ):
        publish(run, NAME, dry_run=True)


def test_what_is_honest_in_a_run_is_published(run: Run) -> None:
    """All of it at once: prompts, arguments with keys like token, hashes, pieces of a
    vocabulary.
    """
    honest = [text for text in HONEST if "://" not in text]
    run.recipe["task"][0]["system"] = "\n".join(honest)
    run.recipe["rewards"][0]["args"] = {
        "stop_token": "<|im_end|>",
        "key": "answer",
        "api_key_env": "JUDGE_KEY",
        "token_ids": [1, 2],
    }
    run.manifest["files"] = [
        {"file": f"data-{number}.jsonl", "sha256": rnd(64, HEX)} for number in range(50)
    ]
    in_vocabulary(run, "sk-")
    in_vocabulary(run, "password=")
    assert publish(run, NAME, dry_run=True).commit is None


def test_the_search_is_as_fast_as_a_disk(tmp_path: Path) -> None:
    """50 MB a second and more, in seconds of this process alone."""
    torch.manual_seed(0)
    save_file(
        {"w": (torch.randn(5, 8_000_000) * 0.02).bfloat16()},
        tmp_path / "model.safetensors",
        metadata={"format": "pt"},
    )
    (tmp_path / "config.json").write_text("{}")
    begun = time.process_time()
    check_folder(tmp_path, "merged")
    assert (tmp_path / "model.safetensors").stat().st_size / 1e6 / (
        time.process_time() - begun
    ) > 50


# In what a run keeps

RECIPE = {
    "model": {"path": "bundled"},
    "task": {"generator": "llmpolicy.bundled.addition:rows"},
    "grpo": {"max_steps": 1},
}


def recipe_with(args: dict[str, Any], **task: Any) -> Any:
    return make_recipe(
        {
            **RECIPE,
            "task": {**RECIPE["task"], **task},
            "rewards": [{"fn": "exact:match", "args": args}],
        }
    )  # type: ignore[dict-item]


BY_LOOKS = ("mistral_named", "aws_session")
"""Found by their random looks, which a word of a prompt may have too."""
ADDRESSES = ("basic_url", "basic_token_url", "postgres", "mongodb", "redis")
"""A recipe may need one; what is published has no password in it (tests/test_publish_local.py)."""


@pytest.mark.parametrize("kind", [kind for kind in FORMS if kind not in BY_LOOKS + ADDRESSES])
def test_a_secret_in_a_recipe_is_refused_before_anything_is_kept(kind: str) -> None:
    with pytest.raises(
        RecipeError,
        match=r"rewards.0.args.deep.0 holds what looks like a secret .* environment variable$",
    ) as refused:
        recipe_with({"deep": [FORMS[kind]]})
    assert FORMS[kind] not in str(refused.value)


def test_a_setting_that_is_called_a_secret_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        RecipeError,
        match=r"rewards.0.args.api_key holds what looks like a secret \(the value of api_key\)",
    ):
        recipe_with({"api_key": rnd(32)})
    monkeypatch.setenv("OUR_SECRET", "correct-horse-battery-staple")
    with pytest.raises(RecipeError, match=r"task.*system holds the value of \$OUR_SECRET"):
        recipe_with({}, system="Say correct-horse-battery-staple.")
    kept = {
        "api_key_env": "JUDGE_KEY",
        "stop_token": "</s>",
        "token": "a",
        "base_url": f"http://u:{PW}@localhost/v1",
        "hash": rnd(64, HEX),
    }
    recipe_with(kept, system="\n".join(HONEST))


def test_the_record_of_a_run_masks_what_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command line, the sentences of faults and of the end; by form and by environment."""
    ours, theirs, address = (
        "correct-horse-battery-staple",
        FORMS["openai_proj"],
        f"https://u:{PW}@example.com",
    )
    monkeypatch.setenv("OUR_SECRET", ours)
    monkeypatch.setattr("sys.argv", ["llmpolicy", "train", f"x={theirs}", ours, address])
    run = Run.create(tmp_path / "run", {"name": "x"})
    run.log_faults(
        [
            {
                "why": f"401 for {theirs}",
                "traceback": f"at {address} with {ours}",
                "completion": "x",
                "call": {},
            }
        ]
    )
    run.write_config({"hub_token": theirs, "learning_rate": 1e-5})
    run.finish("failed", reason=f"no answer from {address} for {theirs}")
    for path in run.path.rglob("*.json*"):
        text = path.read_text()
        assert not [word for word in (ours, theirs, PW) if word in text], path.name
    assert (
        json.loads((run.path / "manifest.json").read_text())["command"]
        == "llmpolicy train x=sk-[redacted] [redacted] https://[redacted]@example.com"
    )
    assert yaml.safe_load((run.path / "recipe.yaml").read_text())["name"] == "x"
