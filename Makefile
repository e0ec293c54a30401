# Needs python3 (3.11 or newer) and make; everything else is installed into .venv on the first call.
PYTHON ?= python3
PROFILE ?= quick
DATA ?=
ARGS ?=

BIN := .venv/bin
STAMP := .venv/.installed
PYTEST := $(BIN)/python -m pytest
# a worker a core, each of which needs some 2 GB; `ARGS=-n0` for one that can be debugged. One that crashes ends the tests and is
# named: with a new one in its place pytest-xdist 3.8 waits for ever (its issue 1323)
WORKERS := --maxprocesses 4 --max-worker-restart 0
CORES := $(shell getconf _NPROCESSORS_ONLN)
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

.DEFAULT_GOAL := reproduce
# without compiled files each process compiles torch's imports again, ten seconds a time
unexport PYTHONDONTWRITEBYTECODE
.PHONY: reproduce site test test-code test-smoke test-solutions test-notebooks lab lock hooks clean help
.NOTPARALLEL:

reproduce: $(STAMP)  ## tables and figures of every paper; PROFILE=quick|desk|full|..., DATA=folder, ARGS='self_distillation --jobs 2'
	$(BIN)/fa reproduce --profile "$(PROFILE)" $(if $(DATA),--data "$(DATA)") $(ARGS)

site: $(STAMP)  ## notebooks, verdicts, data and package as a static site: site/index.html; PROFILE=quick|..., ARGS='--output folder'
	$(BIN)/fa report --profile "$(PROFILE)" $(ARGS)

test: test-code test-smoke test-solutions  ## every test: the package, the notebooks run small and twice, the solutions

# networks of the tests are so small that a second thread only waits
test-code test-smoke test-solutions test-notebooks: export OMP_NUM_THREADS := 1

# one worker more than cores: many of these tests wait for processes of their own
test-code: $(STAMP)  ## the package, its doctests and the conventions
	$(PYTEST) $(WORKERS) -n $$(($(CORES) + 1)) --dist loadfile --ignore=tests/notebooks/test_papermill.py $(ARGS)

test-smoke: $(STAMP)  ## the notebooks at profile smoke through papermill, then again: the same output twice, checked cells give the recorded one
	$(PYTEST) $(WORKERS) -n $(CORES) --dist loadgroup tests/notebooks/test_papermill.py

NBVAL := FA_PROFILE=smoke $(PYTEST) $(WORKERS) -n $(CORES) --dist loadfile --nbval-lax --nbval-current-env --nbval-cell-timeout 300

test-solutions: $(STAMP)  ## the solutions of the course, which the readers' own checks accept
	$(NBVAL) notebooks/solutions

test-notebooks: $(STAMP)  ## for whoever edits notebooks: all as committed, at profile smoke; every cell runs, checked cells give the recorded output
	$(NBVAL) notebooks

lab: $(STAMP)  ## JupyterLab on the first notebook; ARGS=--no-browser on a server
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/jupyter lab --notebook-dir=. --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb $(ARGS)

lock: $(BIN)/uv  ## requirements/*.in -> lock.txt, bootstrap.txt, headless.txt (versions and hashes)
	$(LOCK) -o requirements/lock.txt requirements/requirements.in
	$(LOCK) -o requirements/bootstrap.txt requirements/bootstrap.in
	sed -n 's/^opencv-python==\([^ ]*\).*/opencv-python-headless==\1/p' requirements/lock.txt | \
		$(LOCK) --no-deps -o requirements/headless.txt -

hooks: $(STAMP)  ## for contributors: notebooks as Python in git diffs, and the pre-commit hooks where pre-commit is installed
	git config diff.jupytext.textconv "$(BIN)/jupytext --from ipynb --to py:percent --output -"
	if command -v pre-commit; then pre-commit install; fi

clean:  ## removes runs, crops, figures of smoke and quick, and compiled files; keeps .venv and the recorded figures
	rm -rf runs cache figures/smoke figures/quick site build .pytest_cache .ruff_cache .hypothesis
	find . -path ./.venv -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints -o -name '*.part.ipynb' \) -print0 | xargs -0 rm -rf

help:  ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*##\(.*\)/\1:\2/p' Makefile | awk -F: '{ printf "make %-15s", $$1; sub(/^[^:]*:/, ""); print }'

$(STAMP): requirements/lock.txt requirements/bootstrap.txt requirements/headless.txt pyproject.toml
	@PYTHON="$(PYTHON)" bash requirements/install.sh
	@touch $@

$(BIN)/uv:
	@PYTHON="$(PYTHON)" bash requirements/install.sh
