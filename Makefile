# make demo   trains LeNet-5 on real handwritten digits
# make test   runs the tests
# make parity runs them again with PyTorch installed, so that the comparisons with it run too, and
#             with two threads where make test has one
# make lint   ruff and mypy;   make clean removes the environments

VENV   ?= .venv
# The first interpreter that is new enough. Another one: make demo PYTHON=/path/to/python
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
            $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
TORCH  ?= torch==2.13.0 torchvision==0.28.0
BIN    := $(VENV)/bin

.PHONY: demo test parity lint wheel clean

demo: $(VENV)/.installed
	$(BIN)/minicnn train lenet --data digits
	@echo "               (for the command minicnn in this shell: . $(BIN)/activate)"

test: $(VENV)/.installed-test
	MINICNN_NUM_THREADS=1 $(BIN)/python -m pytest -q

parity:
	$(MAKE) $(VENV)-parity/.installed-test VENV=$(VENV)-parity
	$(VENV)-parity/bin/python -m pip install --quiet $(TORCH)
	MINICNN_NUM_THREADS=2 $(VENV)-parity/bin/python -m pytest -q

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

wheel: $(VENV)/.installed-dev
	rm -rf build  # setuptools would pack files of an earlier state that lie there
	$(BIN)/python -m build --wheel --outdir dist .

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "minicnn needs Python 3.11 or newer; none was found" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.installed-%: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$*]"
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) $(VENV)-parity build dist minicnn.egg-info
