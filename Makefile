# Two commands on a fresh machine: make demo, make test. Each sets up .venv first, which is quick when nothing changed.
PYTHON ?= python3
BIN := .venv/bin
export TOKENIZERS_PARALLELISM = false

.PHONY: setup demo test lint notebooks bench mutants clean
.DEFAULT_GOAL := help

help:
	@echo "make demo       set up, fine-tune the embedded model on the embedded reviews, leave runs/demo"
	@echo "make test       set up, then every test, the notebooks' cells included"
	@echo "make notebooks  execute the notebooks' sources anew and keep their outputs"
	@echo "make mutants    make small wrong edits in every formula; each must be noticed by its tests"
	@echo "make bench      measure what benchmarks/ measures, and keep the results"
	@echo "make clean      remove .venv and runs/demo"

setup: .venv/done

.venv/done: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ftlab needs Python 3.11 or newer; make PYTHON=python3.11")'
	@echo "setting up .venv: about 1 GB of packages, some minutes the first time"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[test]"
	@touch $@

demo: setup
	$(BIN)/ftlab finetune --data reviews --model minilm --epochs 4 --lr 1e-4 --rule "ClipNorm(1.0)" --output runs/demo --overwrite

test: setup lint
	$(BIN)/python -m pytest -q --nbval

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

notebooks: setup
	$(BIN)/python -m notebooks.execute

mutants: setup
	$(BIN)/python -m tests.mutants

bench: setup
	$(BIN)/python -m benchmarks.main_job
	$(BIN)/python -m benchmarks.structure
	$(BIN)/python -m benchmarks.strategies
	$(BIN)/python -m benchmarks.strategies --cost
	$(BIN)/python -m benchmarks.strategies --page

clean:
	rm -rf .venv runs/demo
