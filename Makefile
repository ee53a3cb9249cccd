# Set-up, the demonstration run, the tests and the checks. Needs Python 3.11-3.13 and make.
PYTHON ?= python3
ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
else
BIN := .venv/bin
endif

.DEFAULT_GOAL := help
.PHONY: help run app test lint docs lock clean

help:  ## show what can be made
	@$(PYTHON) -c "import re; print('\n'.join(f'make {t:<7}{d}' for t, d in re.findall(r'^(\w+):.*## (.*)', open('Makefile').read(), re.M)))"

run: .venv/run.stamp  ## set up, then the whole job on simulated recordings
	$(BIN)/kedro run --env=demo

app: .venv/app.stamp  ## set up, then the app in the browser, at http://127.0.0.1:8501
	$(BIN)/cnns-spectrograms app $(APP_ARGS)

# A worker per core takes a whole file at a time, so that what its tests share is made once.
# PYTEST_ARGS="-n 0" runs all in one process, for a debugger.
IN_PARALLEL := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: .venv/test.stamp  ## set up, then the tests
	$(BIN)/python -m pytest $(if $(findstring no:xdist,$(PYTEST_ARGS)),,$(IN_PARALLEL)) $(PYTEST_ARGS)

lint: .venv/test.stamp  ## style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/docs.stamp  ## the site, in build/site, without a network; every link is checked
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

lock: .venv/test.stamp  ## write requirements.lock anew from pyproject.toml
	$(BIN)/uv pip compile --universal --python-version 3.11 --all-extras --upgrade --no-header \
		--no-annotate --no-emit-index-url pyproject.toml -o requirements.lock

clean:  ## remove what the demonstration run made
	$(PYTHON) -c "import shutil; shutil.rmtree('data/demo', ignore_errors=True)"

.venv/created.stamp:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock uv
	$(BIN)/python -c "open('$@', 'w').close()"

# requirements.lock constrains every version: machines of one system and Python get the same. uv
# takes a third of pip's time; pip goes where its settings alone know the way, such as to a mirror.
# Variables, as a comma would end the argument of a call.
RUN_EXTRAS := [train,formats]
APP_EXTRAS := [app,formats]
DOCS_EXTRAS := [train,docs]
TEST_EXTRAS := [train,app,formats,dev,dask,ray]
define install
$(BIN)/uv pip install --quiet --python .venv -c requirements.lock -e $(1) || \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e $(1)
endef

.venv/run.stamp: .venv/created.stamp pyproject.toml requirements.lock
	$(call install,".$(RUN_EXTRAS)")
	$(BIN)/python -c "open('$@', 'w').close()"

.venv/app.stamp: .venv/created.stamp pyproject.toml requirements.lock
	$(call install,".$(APP_EXTRAS)")
	$(BIN)/python -c "open('$@', 'w').close()"

.venv/docs.stamp: .venv/run.stamp
	$(call install,".$(DOCS_EXTRAS)")
	$(BIN)/python -c "open('$@', 'w').close()"

.venv/test.stamp: .venv/run.stamp
	$(call install,".$(TEST_EXTRAS)")
	$(BIN)/python -c "open('$@', 'w').close()"
