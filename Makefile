# Everything runs in .venv, which the first target makes by itself. `make help` lists the targets.

.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo test bench check docs clean
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
# Test files that run side by side. Each has clusters of its own, so more than four want a large machine.
JOBS ?= $(shell n=$$(nproc); echo $$((n < 4 ? n : 4)))
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
GROUPS := --group test --group check --group docs --group build
LINKS := $(addprefix .typing/rasterloom/,pipeline models cluster)

help: ## list the targets
	@echo "make TARGET, where TARGET is one of"
	sed -nE 's/^([a-z]+):.*## (.*)$$/  \1\t\2/p' Makefile | expand -t 10

demo: $(INSTALLED) ## landscape in; model, class map and report out (options: DEMO_ARGS="--help")
	@$(BIN)/rasterloom demo $(DEMO_ARGS)

test: $(INSTALLED) ## run the tests (some of them: TEST_ARGS="tests/pipeline/rasters -x")
	@$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(TEST_ARGS)

bench: $(INSTALLED) ## run the benchmarks with timing on
	@RASTERLOOM_TIMING=1 $(BIN)/python -m pytest tests/benchmarks -s $(TEST_ARGS)

check: $(INSTALLED) $(LINKS) ## lint, format, types and import layers; changes nothing
	@failed=
	tell() {
	  echo "$$1"
	  shift
	  $(BIN)/"$$@" >$(VENV)/check.log 2>&1 || { cat $(VENV)/check.log; failed=yes; }
	}
	tell "ruff check" ruff check --quiet --output-format concise .
	tell "ruff format --check" ruff format --check --output-format concise .
	tell "mypy" mypy
	tell "lint-imports" lint-imports --no-logo
	[ -z "$$failed" ]

docs: $(INSTALLED) ## build the documentation into docs/_build/index.html
	@$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --fresh-env docs docs/_build
	echo "docs/_build/index.html"

clean: ## remove what the targets made, except .venv
	@rm -rf .typing build dist rasterloom.egg-info docs/_build demo
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find pipeline models cluster tests docs -name __pycache__ -type d -prune -exec rm -rf {} +

# Type checkers cannot follow the package mapping of pyproject.toml: these links show them the same tree.
.typing/rasterloom/%:
	@mkdir -p $(@D)
	ln -sfn ../../$* $@

# The stamp is written last, so an interrupted installation goes on at the next call;
# it is older than an edited pyproject.toml, so a new dependency is installed by itself.
$(INSTALLED): pyproject.toml
	@fits() { "$$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

	installs() { command -v uv >/dev/null || "$$1" -c 'import pip' 2>/dev/null; }

	doing="bringing $(VENV) up to date with pyproject.toml"
	if ! { fits $(BIN)/python && installs $(BIN)/python; }; then
	  doing="installing rasterloom and what it needs (PyTorch is the most of it: some GB, some minutes)"
	  python=
	  for name in "$(PYTHON)" python3.13 python3.12 python3.11; do
	    if fits "$$name"; then python=$$name; break; fi
	  done
	  if command -v uv >/dev/null; then
	    echo "making $(VENV) with uv"
	    uv venv --quiet --clear --seed --python "$${python:-3.13}" $(VENV)
	  elif [ -z "$$python" ]; then
	    echo "rasterloom needs Python 3.11, 3.12 or 3.13; $(PYTHON) is $$($(PYTHON) --version 2>&1 || true)." >&2
	    echo "Install one of them, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2
	    exit 1
	  else
	    if ! "$$python" -c 'import venv, ensurepip' 2>/dev/null; then
	      package=$$("$$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
	      if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	        echo "$$python cannot make virtual environments. On Debian and Ubuntu: sudo apt install $$package" >&2
	        exit 1
	      fi
	      echo "installing $$package, which $$python lacks"
	      apt-get update -qq
	      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$$package" >/dev/null
	    fi
	    echo "making $(VENV) with $$("$$python" --version)"
	    "$$python" -m venv --clear $(VENV)
	  fi
	fi

	echo "$$doing"
	begin=$$SECONDS
	if command -v uv >/dev/null; then
	  uv pip install --quiet --python $(BIN)/python --editable . $(GROUPS)
	else
	  export PIP_DISABLE_PIP_VERSION_CHECK=1
	  $(BIN)/python -m pip install -qq --upgrade 'pip>=25.1' # the first that knows --group
	  $(BIN)/python -m pip install -qq --editable . $(GROUPS)
	fi
	echo "took $$((SECONDS - begin)) s"
	touch $@
