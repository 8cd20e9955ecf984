# make demo: train the bundled model; make test: the fast tests. Both install into .venv first.
# make newest: the wheel in an empty environment, with the newest versions that pyproject.toml allows.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: install demo browser test test-slow newest lint battery zoo doctor-bench board semantics lock audit bench gpu receipts receipts-check clean
.DEFAULT_GOAL := test

# Every file but torch's is checked by its hash: pip prefers a file whose hash its index tells, and would take gigabytes of CUDA in
# the place of a CPU build that lies in a folder. What is left for the last step is the package itself and what torch asks for.
$(STAMP): pyproject.toml constraints.txt requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -c constraints.txt torch -e '.[dev]'
	touch $(STAMP)

install: $(STAMP)

demo: install
	$(BIN)/llmpolicy demo

# Chromium, in which the tests look at the page of a run; where it cannot be installed they say so and are skipped.
browser:
	@command -v chromium || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium > /dev/null; } \
	  || echo "no Chromium: the tests that look at a page in a browser are skipped"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# One thread a process: small models gain nothing from two, and threads that spin beside other processes cost several times over.
test test-slow: export OMP_NUM_THREADS = 1

test: install lint
	$(BIN)/python -m pytest -q -m 'not slow' -n auto --maxprocesses 4 --dist loadfile

test-slow: install
	$(BIN)/python -m pytest -q -m slow -n auto --maxprocesses 2 --durations=25

# Only torch is held, as above; the tests run beside a copy of themselves, so that it is the wheel which they import.
NEWEST := build/newest
newest: export OMP_NUM_THREADS = 1
newest:
	rm -rf $(NEWEST)
	$(PYTHON) -m venv $(NEWEST)
	grep '^torch==' constraints.txt > $(NEWEST)/torch.txt
	$(NEWEST)/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir $(NEWEST) .
	$(NEWEST)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check -c $(NEWEST)/torch.txt $(NEWEST)/llmpolicy-*.whl hypothesis pytest pytest-timeout
	cd $(NEWEST) && HF_HUB_OFFLINE=1 bin/llmpolicy demo grpo.max_steps=2 evaluate.n=20 evaluate.samples=2
	cp -r pyproject.toml scripts tests $(NEWEST)
	cd $(NEWEST) && bin/python -m pytest -q -m 'not slow' $(addprefix tests/test_,$(addsuffix .py,seams causal_lm grpo reward_model))

battery: install
	$(BIN)/python scripts/battery.py

zoo: export OMP_NUM_THREADS = 1

# every causal family of transformers and every kind of adapter of peft, a process each; it goes on where it was stopped
zoo: install
	$(BIN)/python scripts/receipts run zoo
	$(BIN)/python -m scripts.zoo --page

doctor-bench: export OMP_NUM_THREADS = 1

# runs that are broken on purpose, and sound ones, and what the doctor says of them; it goes on where it was stopped
doctor-bench: install
	$(BIN)/python scripts/receipts run doctor_bench
	$(BIN)/python -m scripts.doctor_bench --page

semantics: export OMP_NUM_THREADS = 1

# what the losses of the installed TRL have become since they were recorded; TRL=1.15.0 or TRL=newest brings another one
semantics: install
	$(BIN)/python scripts/semantics.py $(TRL)

# an environment of its own for one row of the board: Unsloth asks for an older TRL and patches it. Of what it depends on, what a CPU uses.
UNSLOTH := build/unsloth
$(UNSLOTH)/.installed: constraints.txt requirements.lock
	$(PYTHON) -m venv $(UNSLOTH)
	$(UNSLOTH)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt torch
	$(UNSLOTH)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(UNSLOTH)/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	$(UNSLOTH)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps unsloth==2026.10.9 unsloth_zoo==2026.10.9 trl==1.15.0 \
		cut_cross_entropy einops tyro docstring_parser shtab hf_transfer msgspec sentencepiece protobuf torchao triton
	touch $@

# every row on every problem that its base is there for; it goes on where it was stopped
board: install
	$(BIN)/python scripts/receipts run board
	$(BIN)/llmpolicy board show receipts/board --plot docs/board.png

# a new requirements.lock after a change of constraints.txt: some ten minutes of asking pip
lock:
	$(PYTHON) scripts/lock.py

# pip-audit in an environment of its own; where no vulnerability service can be reached it says so
audit:
	$(PYTHON) -m venv build/audit
	build/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(PYTHON) scripts/audit.py build/audit/bin/pip-audit

bench: install
	$(BIN)/python scripts/bench.py --json bench.json

# laws on the device, the bench, 50 steps of GSM8K with vLLM and without: under half an hour, where there is an accelerator
gpu: install
	$(BIN)/python -m scripts.gpu

receipts: install
	$(BIN)/python scripts/receipts run

receipts-check: install
	$(BIN)/python scripts/receipts check

clean:
	rm -rf $(VENV) runs dist build .pytest_cache .mypy_cache .ruff_cache
