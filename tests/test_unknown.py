"""Characters that a tokenizer does not know: said before training, and rewards read them as they
were asked.
"""

import json
import logging
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from llmpolicy.messages import Conversation
from llmpolicy.policies.causal_lm.codec import Codec
from llmpolicy.run import Run
from llmpolicy.session import train_recipe
from tests.chats import chat, pieces

ASKED = "zw\u00f6lf mal 12 = \u65e5\u672c?"


def codec_of(tokenizer: PreTrainedTokenizerFast) -> Codec:
    return Codec(tokenizer, None, vocabulary=len(tokenizer))


def talk(*contents: str) -> list[Conversation]:
    return [Conversation([{"role": "user", "content": content}]) for content in contents]


def test_what_is_unknown_is_said_once_with_its_place_and_read_as_it_was_asked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    codec = codec_of(chat("chatml"))
    with caplog.at_level(logging.WARNING, "llmpolicy"):
        plain, asked = codec.encode(talk("2+2?", ASKED))
        assert codec.encode(talk(ASKED)) == [asked]
    [said] = caplog.messages
    assert "no token for '\u00f6', '\u65e5', '\u672c'" in said
    assert "of prompt 1: the model reads '<unk>' there" in said
    assert codec.quote(asked) == f"user\n{ASKED}\nassistant\n"
    assert codec.quote(plain) == "user\n2+2?\nassistant\n"
    with caplog.at_level(logging.WARNING, "llmpolicy"):
        codec.encode(["\u00f6 and \u00fc"])
    assert "no token for '\u00fc', first in '\u00f6 and \u00fc' of prompt 0" in caplog.messages[-1]


def test_questions_that_are_one_to_the_model_show_the_token_that_it_reads() -> None:
    codec = codec_of(chat("chatml"))
    one, other = codec.encode(talk("1 \u65e5 <unk>?", "1 \u672c <unk>?"))
    assert one == other
    assert codec.quote(one) == "user\n1 <unk> <unk>?\nassistant\n"
    [alone] = codec_of(chat("chatml")).encode(talk("<unk>"))
    assert codec_of(chat("chatml")).quote(alone) == "user\n\nassistant\n"


@pytest.mark.parametrize("kind", ["gemma", "first", "always", "wordpiece"])
def test_tokenizers_of_pieces_say_it_too(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    codec = codec_of(pieces(kind))
    with caplog.at_level(logging.WARNING, "llmpolicy"):
        [ids] = codec.encode(["3 \u00f6 4"])
    assert "no token for '\u00f6'" in caplog.text
    assert "".join(codec.quote(ids).split()) == "3\u00f64"


def test_characters_that_vanish_without_any_token_are_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    raw = Tokenizer(
        models.BPE({letter: place for place, letter in enumerate("</s> 0123456789+?a")}, [])
    )
    codec = codec_of(PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="</s>"))
    with caplog.at_level(logging.WARNING, "llmpolicy"):
        codec.encode(["1+2?"])
        assert "no token" not in caplog.text
        codec.encode(["1 \u65e5 2?"])
    assert (
        "no token for '\u65e5', first in '1 \u65e5 2?' of prompt 0: the model reads nothing there"
        in caplog.text
    )


def test_a_tokenizer_of_bytes_knows_everything(caplog: pytest.LogCaptureFixture) -> None:
    letters = {
        letter: place
        for place, letter in enumerate(["<|end|>", *pre_tokenizers.ByteLevel.alphabet()])
    }
    raw = Tokenizer(models.BPE(letters, []))
    raw.pre_tokenizer, raw.decoder = (
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoders.ByteLevel(),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|end|>", unk_token="<|end|>"
    )
    codec = codec_of(tokenizer)
    with caplog.at_level(logging.WARNING, "llmpolicy"):
        [ids] = codec.encode([f"{ASKED}<|end|>\u0301\u200b"])
    assert "no token for" not in caplog.text
    assert codec.quote(ids) == f"{ASKED}\u0301\u200b"


def test_a_reply_that_is_unknown_is_said(caplog: pytest.LogCaptureFixture) -> None:
    codec = codec_of(chat("chatml"))
    with caplog.at_level(logging.WARNING, "llmpolicy"):
        codec.lesson(talk("2+2?")[0], "vier \u2713", "demonstration 3")
    assert "no token for '\u2713', first in 'vier \u2713' of demonstration 3" in caplog.text


def test_a_run_says_it_and_keeps_the_question(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"question": f"zw\u00f6lf mal {n} = ", "answer": str(12 * n)} for n in range(8)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    recipe = tmp_path / "times.yaml"
    recipe.write_text(
        "model: bundled\ntask: {file: rows.jsonl}\nrewards: [exact:match]\ngrpo: {max_steps: 1,"
        " per_device_train_batch_size: 4, num_generations: 4, max_completion_length: 2}\n"
    )
    with caplog.at_level(logging.WARNING, "llmpolicy"):
        train_recipe(str(recipe), [], out=tmp_path / "run", say=lambda line: None)
    assert sum("no token for '\u00f6'" in message for message in caplog.messages) == 1
    prompts = [row["prompt"] for row in Run.open(tmp_path / "run").rollouts()]
    assert prompts
    assert all("zw\u00f6lf mal " in prompt for prompt in prompts)
