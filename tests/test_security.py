"""SECURITY.md promises nothing that no test holds: every point names the tests that fail when it is
broken.
"""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from scripts.lock import OF_EXTRAS

ROOT = Path(__file__).parent.parent
HELD_BY = {
    "`train` and `check-reward` run the code that they are told to run": (
        "test_consent.py::test_ones_own_way_is_never_asked",
        "test_sources.py::test_a_file_that_a_module_names_in_parts_or_imports_by_name_is_compared",
    ),
    "Code of somebody else runs after your word": (
        "test_consent.py::test_a_recipe_is_explained_after_the_user_has_agreed",
        "test_consent.py::test_a_run_of_somebody_else_runs_nothing_unasked",
        "test_consent.py::test_a_recipe_of_ones_own_does_not_let_in_that_of_the_run",
        "test_consent.py::test_a_judge_elsewhere_gets_no_key_unasked",
    ),
    "No column of the data says what code runs": (
        "test_consent.py::test_no_column_of_the_data_says_what_code_runs_or_where_a_key_goes",
    ),
    "Nothing in the current folder is imported": (
        "test_foreign.py::test_nothing_in_the_current_folder_is_imported",
        "test_foreign.py::test_a_script_copied_into_a_project_imports_nothing_of_it",
    ),
    "A model's own code runs by the word of the command only": (
        "test_security.py::test_code_of_a_model_is_not_run_unless_asked_for",
        "test_consent.py::test_only_the_command_lets_the_code_of_a_model_run",
        "test_consent.py::test_nor_is_it_said_in_the_arguments_of_a_reward",
    ),
    "Publishing runs none of the code that a run names": (
        "test_consent.py::test_publishing_runs_no_code_but_that_of_a_model_by_the_word_of_the_command",
    ),
    "Weights are read and written as safetensors only": (
        "test_adapters.py::test_what_is_saved_is_safetensors_a_tokenizer_and_true_names",
        "test_grpo.py::test_a_checkpoint_holds_no_pickled_arguments_and_no_card",
        "test_publish.py::test_nothing_outside_the_list_leaves",
        "test_security.py::test_no_pickle_is_loaded_that_could_be_code",
    ),
    "Code that a model wrote runs only in a sandbox that passed its self-test": (
        "test_sandbox.py::test_a_plain_process_does_not_pass_the_self_test",
        "test_sandbox.py::test_no_hostile_program_escapes_or_stalls",
        "test_sandbox_channels.py::test_no_variable_turns_the_sandbox_off",
    ),
    "What a program is expected to answer never enters the sandbox": (
        "test_code_tests.py::test_the_expected_value_never_enters_the_sandbox",
        "test_sandbox_channels.py::test_all_that_can_be_seen_is_the_same_whatever_is_expected",
    ),
    "Rewards run in worker processes with a time and a memory limit": (
        "test_firewall.py::test_a_completion_that_takes_all_memory_scores_the_least_and_costs_a_worker",
        "test_faults.py::test_a_hang_costs_its_timeout_and_the_run_goes_on",
        "test_descendants.py::test_what_a_reward_started_ends_with_its_worker",
    ),
    "Tokens are read from the environment or from the Hub client's login": (
        "test_push.py::test_no_token_goes_over_plain_http_to_another_machine",
        "test_publish.py::test_the_token_is_asked_of_every_call_and_files_go_before_the_commit",
    ),
    "A recipe that holds a secret is refused before a run is made of it": (
        "test_secrets.py::test_a_secret_in_a_recipe_is_refused_before_anything_is_kept",
        "test_secrets.py::test_a_setting_that_is_called_a_secret_is_refused_too",
    ),
    "What a run keeps of the command line, of faults and of its end has secrets masked.": (
        "test_secrets.py::test_the_record_of_a_run_masks_what_was_said",
        "test_run.py::test_tokens_never_reach_the_manifest",
        "test_shown.py::test_the_whole_config_is_kept_and_its_tokens_are_not",
    ),
    "A judge's key is read from the environment variable that the recipe names": (
        "test_judge.py::test_the_key_comes_from_the_environment_and_is_told_nowhere",
    ),
    "An explicit list of files is sent, private by default": (
        "test_publish.py::test_nothing_outside_the_list_leaves",
        "test_publish.py::test_an_adapter_arrives_as_it_was_trained",
        "test_publish_local.py::test_what_changes_while_it_is_read_is_not_sent",
    ),
    "A file in which a secret is found is not sent": (
        "test_secrets.py::test_every_form_is_found_and_said_without_its_text",
        "test_secrets.py::test_every_form_is_found_behind_an_encoding",
        "test_secrets.py::test_what_a_variable_keeps_secret_is_found",
        "test_secrets.py::test_a_secret_in_any_file_stops_the_publication_and_is_not_repeated",
        "test_secrets.py::test_a_value_of_the_environment_stops_it_as_well",
    ),
    "Nothing tells of your machine": (
        "test_publish_local.py::test_no_key_of_recipe_manifest_and_evaluation_hides_a_path",
        "test_publish_local.py::test_where_others_wrote_it_is_refused_in_a_sentence",
    ),
    "Links, hard links, pipes and files that change meanwhile are refused": (
        "test_publish_local.py::test_links_pipes_and_second_names_are_refused",
        "test_publish_local.py::test_a_figure_that_is_none_is_refused_by_its_key",
        "test_publish_local.py::test_weights_that_are_no_numbers_are_refused",
    ),
    "Nothing of somebody else is overwritten": (
        "test_push.py::test_somebody_elses_commit_is_never_overwritten",
        "test_push.py::test_what_was_edited_by_hand_is_only_replaced_when_asked",
        "test_push.py::test_a_repository_of_another_visibility_is_refused",
        "test_push.py::test_weights_of_another_origin_are_never_replaced",
    ),
    "Names and texts become no markup": ("test_publish_card.py::test_names_cannot_become_markup",),
    "What is printed shows every sign": (
        "test_terminal.py::test_every_text_is_shown_whole_and_plain",
        "test_terminal.py::test_warnings_logs_and_tracebacks",
    ),
    "A page of a run lets nothing of a completion act": (
        "test_page.py::test_a_page_names_nothing_outside_itself_and_lets_only_its_own_script_run",
        "test_page.py::test_no_text_ends_a_script_element",
        "test_page_browser.py::test_no_text_of_a_completion_does_anything",
        "test_page_browser.py::test_the_policy_of_the_page_refuses_what_would_run",
    ),
    "`view` is answered to this machine alone": (
        "test_page.py::test_a_view_follows_a_run_and_answers_this_machine_alone",
    ),
    "What `make install` takes is what was locked": (
        "test_security.py::test_every_pin_is_locked_by_its_hash",
        "test_security.py::test_what_is_installed_is_checked_by_its_hash",
    ),
}


def test_every_promise_is_held_by_tests_that_exist() -> None:
    promised = (
        (ROOT / "SECURITY.md")
        .read_text()
        .partition("## What is promised")[2]
        .partition("## What is not promised")[0]
    )
    points = re.findall(r"^- (.*(?:\n  .*)*)", promised, re.MULTILINE)
    titles = [re.match(r"\*\*(.+?)\*\*", " ".join(point.split())) for point in points]
    assert [title and title[1] for title in titles] == list(HELD_BY)
    for tests in HELD_BY.values():
        for file, _, name in (test.partition("::") for test in tests):
            functions = {
                node.name
                for node in ast.walk(ast.parse((ROOT / "tests" / file).read_text()))
                if isinstance(node, ast.FunctionDef)
            }
            assert name in functions, f"{file}::{name}"


def test_code_of_a_model_is_not_run_unless_asked_for(tmp_path: Path) -> None:
    """Of a folder whose configuration names a file of its own, which leaves a trace where it
    runs.
    """
    from llmpolicy.errors import LLMPolicyError
    from llmpolicy.policies.causal_lm import CausalLMPolicy
    from tests.models import tokenizer

    tokenizer().save_pretrained(tmp_path)
    code = f"open({str(tmp_path / 'trace')!r}, 'w')\nclass C: pass\nclass M: pass\n"
    (tmp_path / "own.py").write_text(code)
    (tmp_path / "config.json").write_text(
        '{"model_type": "own", "auto_map": {"AutoConfig": "own.C", "AutoModelForCausalLM":'
        ' "own.M"}}'
    )
    with pytest.raises((LLMPolicyError, ValueError)):
        CausalLMPolicy.load(tmp_path)
    assert not (tmp_path / "trace").exists()


class Trace:
    """Pickled, it is a call that leaves a trace."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


def test_no_pickle_is_loaded_that_could_be_code(tmp_path: Path) -> None:
    """Neither as weights, nor is torch.load called anywhere without weights_only."""
    from llmpolicy.errors import LLMPolicyError
    from llmpolicy.policies.causal_lm import CausalLMPolicy
    from tests.models import model, tokenizer

    model("llama", seed=1).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({"a": Trace(tmp_path / "trace")}, tmp_path / "pytorch_model.bin")
    with pytest.raises((LLMPolicyError, OSError)):
        CausalLMPolicy.load(tmp_path)
    assert not (tmp_path / "trace").exists()
    for file in (ROOT / "llmpolicy").rglob("*.py"):
        calls = [
            node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)
        ]
        for call in (call for call in calls if ast.unparse(call.func) == "torch.load"):
            assert {word.arg: ast.unparse(word.value) for word in call.keywords}.get(
                "weights_only"
            ) == "True", file


def _pins(name: str) -> dict[str, str]:
    lines = (
        line.partition(";")[0].partition(" \\")[0].strip()
        for line in (ROOT / name).read_text().splitlines()
    )
    return dict(
        line.split("==") for line in lines if "==" in line and not line.startswith(("#", "--"))
    )


def test_every_pin_is_locked_by_its_hash() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert _pins("requirements.lock") == {
        name: pin for name, pin in _pins("constraints.txt").items() if name not in OF_EXTRAS
    }
    blocks = re.split(r"\n(?=[A-Za-z])", lock.partition("\n")[2])
    assert all(
        re.fullmatch(r"\S+==\S+(?: ; [^\\]+)?(?: \\\n    --hash=sha256:[0-9a-f]{64})+\s*", block)
        for block in blocks
    )


def test_what_is_installed_is_checked_by_its_hash() -> None:
    install = (ROOT / "Makefile").read_text().partition("$(STAMP):")[2].partition("\n\n")[0]
    assert "--require-hashes" in install
    assert "-r requirements.lock" in install
