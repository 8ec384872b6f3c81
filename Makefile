# make demo   the main job on real counts      make test   lint, types and tests
# Each first makes .venv and installs what it needs; the second time there is nothing left to install.

PYTHON      ?= python3
VENV        ?= .venv
CONSTRAINTS ?= constraints.txt
# On Linux, PyPI's torch brings CUDA along (gigabytes). For the small CPU build:
#   make demo PIP_TORCH="torch --extra-index-url https://download.pytorch.org/whl/cpu"
PIP_TORCH   ?= torch

# The oldest Python, for make test-lowest
LOWEST      ?= python3.10

# make test-scvi SCVI=scvi-tools==1.3.0
SCVI        ?= scvi-tools

# make demo DATA=counts.h5ad GROUPBY=cell_type [BATCH=batch] [OUT=folder]
DATA    ?=
GROUPBY ?=
BATCH   ?=
OUT     ?= demo

bin     := $(VENV)/bin
pip     := $(bin)/python -m pip install --disable-pip-version-check --constraint $(CONSTRAINTS)
sources := pyproject.toml DESCRIPTION $(CONSTRAINTS)

.DEFAULT_GOAL := help
.PHONY: help demo test test-python test-r test-lowest test-scvi validity validity-quick speed document docs dist lint longtest clean

help:
	@echo "make demo       install, then the main job on real counts; tables and figures go to demo/"
	@echo "                your own data: make demo DATA=counts.h5ad GROUPBY=cell_type [BATCH=batch] [OUT=folder]"
	@echo "make test       install, then ruff, mypy, the documentation, the tests of the Python and of the R package"
	@echo "make test-python, make test-r   one of them"
	@echo "make test-lowest  the tests of the Python package with the oldest versions, in .venv-lowest [LOWEST=python3.10]"
	@echo "make test-scvi  from_scvi against scvi-tools, in .venv-scvi"
	@echo "make validity   are the numbers right: planted truth, nulls, peers, real counts (LDVAE_DATA); 40 minutes or more"
	@echo "make speed      how fast and how large, beside scvi-tools (takes long)"
	@echo "make docs       the documentation site, into docs/_build/html; tutorials are run"
	@echo "make dist       sdist and wheel into dist/, and the wheel tried in a clean environment"
	@echo "make lint       only ruff and mypy"
	@echo "make longtest   the tests that take minutes"
	@echo "make clean      remove .venv, demo/ and caches"
	@echo "Without a GPU, add PIP_TORCH=\"torch --extra-index-url https://download.pytorch.org/whl/cpu\" the first time."

demo: $(VENV)/.demo
	@$(bin)/python examples/demo.py --out "$(OUT)" $(if $(DATA),--data "$(DATA)") \
	  $(if $(GROUPBY),--groupby "$(GROUPBY)") $(if $(BATCH),--batch "$(BATCH)")

test: test-python docs validity-quick test-r

test-python: lint
	$(bin)/python -m pytest

# Needs R; on Debian as root it installs it. Leaves the R library of the tests in .r/.
test-r: $(VENV)/.bridge
	PYTHON=$(abspath $(bin))/python tests/bridge/test_r.sh

# The other end, the newest versions, is make test-python PYTHON=python3.13 VENV=.venv-3.13.
test-lowest:
	@$(MAKE) --no-print-directory VENV=.venv-lowest CONSTRAINTS=constraints-lowest.txt PYTHON=$(LOWEST) .venv-lowest/.lowest
	.venv-lowest/bin/python -m pytest

# scvi-tools brings much along: it has an environment of its own. One thread is enough for models this small.
test-scvi:
	@$(MAKE) --no-print-directory VENV=.venv-scvi .venv-scvi/.scvi
	OMP_NUM_THREADS=1 .venv-scvi/bin/python -m pytest tests/reference/test_scvi.py

# Beside scvi-tools, so in the environment that has it; results go to benchmarks/validity/results.
validity:
	@$(MAKE) --no-print-directory VENV=.venv-scvi .venv-scvi/.scvi
	.venv-scvi/bin/python benchmarks/validity/run.py

# The same for time; results go to benchmarks/speed/results.
speed:
	@$(MAKE) --no-print-directory VENV=.venv-scvi .venv-scvi/.scvi
	.venv-scvi/bin/python benchmarks/speed/run.py

validity-quick: $(VENV)/.test
	$(bin)/python benchmarks/validity/run.py --quick --out $(VENV)/validity

# Help pages and NAMESPACE of the R package from its comments; needs roxygen2.
document: $(VENV)/.bridge
	cd r_wrapper && R_LIBS=../.r/lib Rscript -e 'roxygen2::roxygenise(".", load_code = "source")'

# Every warning is an error.
docs: $(VENV)/.docs
	$(bin)/python -m sphinx --fail-on-warning --keep-going --color docs docs/_build/html

dist: $(bin)/python
	$(pip) --quiet 'build>=1.2'
	rm -rf dist .venv-dist && $(bin)/python -m build
	$(bin)/python -m venv .venv-dist
	.venv-dist/bin/python -m pip install --quiet --constraint $(CONSTRAINTS) $(PIP_TORCH)
	.venv-dist/bin/python -m pip install --quiet --constraint $(CONSTRAINTS) "$$(ls dist/*.whl)[plot,report]"
	cd dist && ../.venv-dist/bin/ldvae --version && ../.venv-dist/bin/python ../examples/quickstart.py >/dev/null
	.venv-dist/bin/python -c 'from importlib.resources import files; assert (files("ldvae") / "py.typed").is_file()'

longtest: $(VENV)/.test
	$(bin)/python -m pytest -m longtest

lint: $(VENV)/.test
	$(bin)/python -m ruff check .
	$(bin)/python -m ruff format --check .
	$(bin)/python -m mypy

clean:
	rm -rf $(VENV) .venv-lowest .venv-scvi .venv-dist .r r_wrapper/inst/python demo docs/_build build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp per set of packages, older than pyproject.toml, DESCRIPTION or the pins when these change.
$(VENV)/.demo: $(VENV)/.torch $(sources)
	@echo "Installing ldvae with what the demo needs into $(VENV) ..."
	@$(pip) --quiet --editable '.[demo]'
	@touch $@

$(VENV)/.test: $(VENV)/.torch $(sources)
	@echo "Installing ldvae with what the tests need into $(VENV) ..."
	@$(pip) --quiet --editable '.[test,dev]'
	@touch $@

$(VENV)/.lowest: $(VENV)/.torch $(sources)
	@echo "Installing ldvae with the oldest versions into $(VENV) ..."
	@$(pip) --quiet --editable '.[test]'
	@touch $@

$(VENV)/.scvi: $(VENV)/.torch $(sources)
	@echo "Installing ldvae with $(SCVI) into $(VENV) ..."
	@$(pip) --quiet --editable '.[scvi,test]' '$(SCVI)'
	@touch $@

$(VENV)/.docs: $(VENV)/.torch $(sources)
	@echo "Installing ldvae with what the documentation needs into $(VENV) ..."
	@$(pip) --quiet --editable '.[docs]'
	@touch $@

$(VENV)/.bridge: $(VENV)/.test tests/bridge/install_r.sh
	@tests/bridge/install_r.sh
	@echo "Installing what puts R into Python into $(VENV) ..."
	@$(pip) --quiet --editable '.[test,dev,bridge]'
	@touch $@

$(VENV)/.torch: $(CONSTRAINTS) | $(bin)/python
	@echo "Installing PyTorch into $(VENV) (the largest part, once) ..."
	@$(pip) $(PIP_TORCH)
	@touch $@

# Debian ships venv without ensurepip: as root take the missing package, otherwise name it.
$(bin)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "ldvae needs Python 3.10 or newer, but PYTHON=$(PYTHON) is not: try make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  package=$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "Installing the Debian package $$package ..."; \
	    apt-get update -qq && apt-get install -y -qq --no-install-recommends $$package </dev/null >/dev/null; \
	  else \
	    echo "Python lacks venv: install it with: sudo apt-get install $$package" >&2; exit 1; \
	  fi; }
	@$(PYTHON) -m venv $(VENV)
