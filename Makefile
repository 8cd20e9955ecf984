# make demo: train the bundled model; make test: the fast tests. Both install into .venv first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: install demo test test-slow lint battery zoo bench receipts receipts-check clean
.DEFAULT_GOAL := test

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(STAMP)

install: $(STAMP)

demo: install
	$(BIN)/llmpolicy demo

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# One thread a process: small models gain nothing from two, and threads that spin beside other processes cost several times over.
test test-slow: export OMP_NUM_THREADS = 1

test: install lint
	$(BIN)/python -m pytest -q -m 'not slow' -n auto --maxprocesses 4 --dist loadfile

test-slow: install
	$(BIN)/python -m pytest -q -m slow --durations=25

battery: install
	$(BIN)/python scripts/battery.py

zoo: export OMP_NUM_THREADS = 1

# every causal family of transformers and every kind of adapter of peft, a process each; it goes on where it was stopped
zoo: install
	$(BIN)/python scripts/receipts run zoo
	$(BIN)/python -m scripts.zoo --page

bench: install
	$(BIN)/python scripts/bench.py --json bench.json

receipts: install
	$(BIN)/python scripts/receipts run

receipts-check: install
	$(BIN)/python scripts/receipts check

clean:
	rm -rf $(VENV) runs dist build .pytest_cache .mypy_cache .ruff_cache
