# Two commands do everything: `make demo` and `make test`. Each sets itself up first.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo check test e2e-full bench clean require

setup: $(VENV)/.ready build/jars/.ready

require:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "Python 3.11 is missing. Install it (Debian: apt-get install python3.11 python3.11-venv; pyenv: pyenv install 3.11), or say where it is: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	  echo "$(PYTHON) is not Python 3.11. Say where 3.11 is: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@command -v java >/dev/null || { \
	  echo "Java 17 is missing. Install it (Debian: apt-get install openjdk-17-jre-headless)."; exit 1; }
	@java -version 2>&1 | grep -q 'version "17' || { \
	  echo "Java 17 is needed, and 'java' is another version: $$(java -version 2>&1 | head -1). Install openjdk-17-jre-headless and put it first on PATH."; exit 1; }
	@command -v mvn >/dev/null || { \
	  echo "Maven is missing. Install it (Debian: apt-get install maven)."; exit 1; }

$(VENV)/.ready: pyproject.toml constraints.txt | require
	@echo "[1/2] Python packages into $(VENV) (about 300 MB, a minute or two the first time) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --disable-pip-version-check --progress-bar on -q -c constraints.txt -e '.[job,serving,stack,dev]'
	@touch $@

build/jars/.ready: pom.xml | require
	@echo "[2/2] Jars into build/jars ..."
	@mvn -q -B dependency:copy-dependencies -DoutputDirectory=build/jars
	@touch $@

demo: setup
	@$(BIN)/segstream demo

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python -m schemas.generate --check

test: setup check
	$(BIN)/pytest -m "not full"

# The long runs on real servers: the real click log, a month of 500,000 lines, every fault.
e2e-full: setup
	$(BIN)/pytest -m full

bench: setup
	$(BIN)/python -m bench

clean:
	rm -rf $(VENV) build dist
