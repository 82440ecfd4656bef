# Two commands for a fresh machine: `make run` and `make test`; `make test-fast` for whoever edits. All make the virtual
# environment first, once.
PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed

.PHONY: run test test-fast check install clean

run: install
	$(VENV)/bin/kdbench run

# A test file a process and one thread each: the tests' models are too small for more. In the order that tests/conftest.py
# gives them, slow files first: by default files of few tests come last, which take longest.
PYTEST := OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

test: check
	$(PYTEST) --durations=20

# For the one who edits: everything quick, and one real run.
test-fast: install
	$(PYTEST) -m 'not slow' --durations=10

check: install
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

install: $(INSTALLED)

# torch goes first and alone: once its pinned version is there, nothing that follows replaces it.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt torch
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV)
