# Needs Python 3.11 or 3.12 and make, nothing else. PYTHON=... names the Python, VENV=... the
# folder of the environment, ARGS=... what is passed on to the sweep or to pytest.

VENV ?= .venv
PYTHON ?=
ARGS ?=

# Disks are taken away in two minutes, and drivers asked to end in two; servers take three, groups of processes four, a cluster's nodes, drivers and head five, a server
# on PostgreSQL five, SLURM's time limits and queues ten. An object store takes four; MLflow's users three on a machine with
# seven other programs for each core.
FAULTS := tests/faults/test_storage.py tests/faults/test_signals.py
CLUSTER_FAULTS := tests/faults/test_services.py tests/integration/test_workers.py tests/integration/test_pool.py tests/integration/test_domain_sequence.py tests/faults/test_cluster.py \
  tests/faults/test_spot.py \
  tests/faults/test_postgres.py tests/faults/test_object_store.py tests/faults/test_read_only.py tests/faults/test_clock.py tests/faults/test_slurm.py
RAY := $(patsubst %,tests/integration/test_%.py,sweep restoration_sweep resume map_sweep python_doc search ray_start killed_pack)
# Files in the order of tests/conftest.py: long ones first, so that no process is alone with one at the end.
PARALLEL := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
# What needs no Ray comes first, because it says soonest what is broken.
TESTS := "$(PARALLEL) tests $(patsubst %,--ignore=%,$(RAY) $(CLUSTER_FAULTS) tests/faults)" "$(PARALLEL) $(RAY) $(FAULTS)"

# A third of all files of all libraries, which nothing here imports: to compile them, too, took 166 s of CPU, not 95.
NOT_COMPILED := site-packages/(.*/tests?|databricks|fontTools|mypyc?|networkx|pip|ray/(llm|rllib|serve)|setuptools|torch/(_inductor|testing)|torch_geometric)/

BIN := $(VENV)/bin
UV := $(BIN)/uv
STAMP := $(VENV)/.installed
# Servers for faults alone, apart from the environment.
SERVERS := $(VENV)/servers
PREFLIGHT := tools/preflight.py

# torch's CUDA libraries are large files: a slow line needs more than uv's 30 seconds.
export UV_HTTP_TIMEOUT ?= 300

.DEFAULT_GOAL := help
.PHONY: help demo test faults lint types docs lock ui clean install

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; \
	do printf '  make %-8s %s\n' "$$name" "$$text"; done

demo: install ## install what is missing, then run the default sweep (adapter capacity)
	@$(BIN)/python $(PREFLIGHT) run --venv "$(VENV)" --python "$(PYTHON)"
	$(BIN)/python sweeps/adapter_capacity.py $(ARGS)

test: install ## install what is missing, then run the tests
	@$(BIN)/python $(PREFLIGHT) run --venv "$(VENV)" --python "$(PYTHON)"
	@set -e; if [ -n "$(ARGS)" ]; then $(BIN)/python -m pytest $(ARGS); else \
	  for part in $(TESTS); do echo "pytest $$part"; $(BIN)/python -m pytest -q $$part || exit 1; done; fi

faults: install $(SERVERS)/.installed ## install what is missing, then kill nodes, drivers, servers and disks under sweeps
	@set -e; for part in $(FAULTS) $(CLUSTER_FAULTS); do echo "pytest $$part"; $(BIN)/python -m pytest -q $$part; done

lint: install ## ruff: rules, import walls, format
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

types: install ## mypy --strict
	$(BIN)/python -m mypy

docs: export NO_MKDOCS_2_WARNING := 1
docs: install ## build the documentation site in build/site; a broken link is an error
	$(BIN)/python -m mkdocs build --strict $(ARGS)

lock: $(UV) ## resolve requirements.lock anew (ARGS=--upgrade for newer versions)
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --custom-compile-command "make lock" --group dev --extra classical \
	  pyproject.toml -o requirements.lock $(ARGS) > /dev/null
	@sed -e '/^python-dateutil==/d' -e '/==/!d' -e 's/ *\\$$//' requirements.lock > $(VENV)/constraints.txt
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --no-emit-index-url --custom-compile-command "make lock" --constraints $(VENV)/constraints.txt \
	  tests/faults/servers.in -o tests/faults/servers.lock $(ARGS) > /dev/null

ui: install ## open the MLflow UI on the results
	@case "$${MLFLOW_TRACKING_URI:=sqlite:///mlflow.db}" in \
	http*) echo "the results are at $$MLFLOW_TRACKING_URI" ;; \
	*) exec $(BIN)/python -m mlflow ui --backend-store-uri "$$MLFLOW_TRACKING_URI" $(ARGS) ;; \
	esac

clean: ## remove caches and build outputs; the environment and the results stay
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.venv*' -not -path './$(VENV)/*' -prune \
	  -exec rm -rf {} +

install: $(STAMP) ## build the environment from requirements.lock

# Every package, hatchling and uv too, comes from the lock with its hash; the project itself is
# then built in place, offline. All that runs is compiled once: where Python may not write its bytecode (containers
# set PYTHONDONTWRITEBYTECODE), each driver and each worker would compile 6,000 files again. A library's file that
# does not compile stops nothing here: who imports it is told.
$(STAMP): pyproject.toml requirements.lock | $(UV)
	@$(BIN)/python $(PREFLIGHT) install --venv "$(VENV)" --python "$(PYTHON)" > /dev/null
	$(UV) pip install --python $(BIN)/python --require-hashes -r requirements.lock
	$(UV) pip install --python $(BIN)/python --no-deps --no-build-isolation --offline --editable .
	@$(BIN)/python -m compileall -qq -j 0 -x '$(NOT_COMPILED)' $(VENV)/lib/python3*/site-packages || true
	@$(BIN)/python -m compileall -q platform trainables sweeps
	@touch $@

$(SERVERS)/.installed: tests/faults/servers.lock | $(STAMP)
	rm -rf $(SERVERS)
	$(UV) pip install --python $(BIN)/python --target $(SERVERS) --require-hashes -r $<
	@touch $@

# Whichever Python runs can check the preconditions; the check names the one to build with.
$(UV):
	@for any in "$(PYTHON)" python3 python3.12 python3.11 python; do \
	  "$$any" -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2> /dev/null && break; any=; \
	done; \
	if [ -z "$$any" ]; then \
	  echo "no Python runs here; Python 3.11 or 3.12 is needed;" \
	    "install one, or point to it: make PYTHON=/path/to/python3.12" >&2; exit 2; \
	fi; \
	python=$$("$$any" $(PREFLIGHT) install --venv "$(VENV)" --python "$(PYTHON)") || exit 2; \
	set -ex; \
	test -x $(BIN)/python || "$$python" -m venv $(VENV); \
	$(BIN)/python -m pip --version > /dev/null 2>&1 || $(BIN)/python -m ensurepip; \
	sed -n '/^uv==/,/^    # via/p' requirements.lock > $(VENV)/uv.lock; \
	$(BIN)/python -m pip install --quiet --require-hashes -r $(VENV)/uv.lock
