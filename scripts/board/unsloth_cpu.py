"""A row of the board: TRL's GRPOTrainer as Unsloth patches it where there is no GPU."""

# isort: off
from unsloth import FastLanguageModel  # before transformers and TRL, which it patches
from trl import GRPOConfig, GRPOTrainer
# isort: on

from llmpolicy.board.trainers import Task, as_trl, prompts
from llmpolicy.plan import model_path


def train(task: Task) -> None:
    """Train all weights of the problem's base with the recipe's options."""
    recipe = task.plan.recipe
    settings = dict(recipe.grpo or {})
    model, tokenizer = FastLanguageModel.from_pretrained(
        str(model_path(recipe.language_model, recipe.base_dir)),
        max_seq_length=256,
        load_in_4bit=False,
        full_finetuning=True,
    )
    args = GRPOConfig(
        output_dir=str(task.folder / "run"),
        seed=recipe.seed,
        report_to="none",
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        **settings,
    )
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=[as_trl(task.plan)],
        args=args,
        train_dataset=prompts(task.plan),
        processing_class=tokenizer,
    )
    trainer.train()
