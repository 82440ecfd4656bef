# Two commands for a fresh machine: `make run` and `make test`; `make test-fast` for developers, `make fuzz` for the
# night. Each creates the virtual environment first, once.
PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed

.PHONY: run test test-fast support fuzz coverage check lint docs install clean

run: install
	$(VENV)/bin/kdbench run

# One thread per process, since the tests' models are small. Test files run in the order of tests/conftest.py, slow ones
# first: by default files of few tests, which take longest, would come last.
PYTEST := OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

# mypy is one of the tests (tests/test_types.py).
test: lint
	$(PYTEST) --durations=20

# For developers: the quick tests and one real run.
test-fast: install
	$(PYTEST) -m 'not slow' --durations=10

# Tries every strategy on every architecture, and writes docs/support.md from what they gave; with SUPPORT=new, the
# strategies that it lacks.
support: SUPPORT ?= every
support: install
	KDBENCH_WRITE_SUPPORT=$(SUPPORT) OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest tests/plugins/test_support.py -k write_the_page

# For a nightly job: new inputs for every parser, as many as FUZZ_INPUTS says; `make test` gets the same few each time.
# The batches of one parser are spread over all cores.
fuzz: FUZZ_INPUTS ?= 100000
fuzz: install
	KDBENCH_FUZZ_INPUTS=$(FUZZ_INPUTS) OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest tests/fuzz --numprocesses auto

# Which lines no test runs, in whatever process; `make coverage TESTS="-m 'not slow'"` asks the quick tests alone.
coverage: install
	$(PYTEST) --cov --cov-report=term $(TESTS)

# The documentation as a site in build/site; any warning is an error.
docs: install
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build

check: lint
	$(VENV)/bin/mypy

lint: install
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check

install: $(INSTALLED)

# By the environment, so that it also holds where pip builds a package: seqeval is one, and not every setuptools-scm
# builds it. As an address, since pip splits the variable at blanks.
EMPTY :=
SPACE := $(EMPTY) $(EMPTY)
export PIP_CONSTRAINT := file://$(subst $(SPACE),%20,$(CURDIR))/constraints.txt

# torch is installed first and alone: nothing that follows replaces its pinned version.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet torch
	$(VENV)/bin/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV)
