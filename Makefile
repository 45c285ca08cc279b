# The project's commands. Each sets up what it needs first, and says nothing where nothing is to be done.
#
# New or newer dependencies: edit pyproject.toml, then `make lock` (it needs uv) and commit both files.

PYTHON ?= python3
VENV := .venv/bin
JOBS ?= 3

.PHONY: help setup setup-demo setup-tests setup-argocd setup-benchmarks machine demo test check docs lint formatted types layers generated faults argocd vm bench image mutants format lock clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo     one real release, end to end; KEEP=1 leaves everything up to look around'
	@echo 'make test     every test except the long ones'
	@echo 'make check    lint, formatting, types, layers, generated files, the site'
	@echo 'make docs     the site of docs/, in build/docs; a dead link, or a page that is not in the navigation, is an error'
	@echo 'make faults   the long fault tests, the laws and the fuzz with ten times as many examples'
	@echo 'make argocd   our Argo CD manifests with a real Argo CD, which is built first: some minutes, as root'
	@echo 'make vm       all tests that boot whole machines, also with the power cut at each write of an install: an hour'
	@echo 'make bench    what decisions, a bridge, an agent and 10,000 devices take in time, memory and writes;'
	@echo '              SIZES="1000 1000000" for other fleets'
	@echo 'make image    the image of operator and bridge in build/image, without a daemon;'
	@echo '              ARGS="--architecture arm64 --push HOST/NAME:TAG"'
	@echo 'make mutants  which changes to the decision core no test notices; MODULE=gates for a part of it'
	@echo 'make format   put all code into its format'
	@echo 'make setup    only what the others do first: packages, .venv, Go, Kubernetes (make setup-demo, make setup-tests: what these need too)'
	@echo 'make lock     pin the dependencies anew'
	@echo 'make clean    delete what was made here; the cache outside stays'

setup:
	@PYTHONPATH=operator $(PYTHON) -m backstay.sandbox.setup

setup-demo:
	@PYTHONPATH=operator $(PYTHON) -m backstay.sandbox.setup --for-demo

setup-tests:
	@PYTHONPATH=operator $(PYTHON) -m backstay.sandbox.setup --for-tests

# What booted tests begin from: made once, in some minutes, and kept in the cache.
machine: setup-tests
	@$(VENV)/python -m tests.vm.snapshot

setup-argocd:
	@PYTHONPATH=operator $(PYTHON) -m backstay.sandbox.setup --for-argo-cd

setup-benchmarks:
	@PYTHONPATH=operator $(PYTHON) -m backstay.sandbox.setup --for-benchmarks

demo: setup-demo
	@$(VENV)/python -m demo

# Three at a time, each file whole and the longest first: the cluster tests mostly wait, the others mostly compute.
# The byte code is kept, also where the environment says otherwise: each of the three would compile all tests every time.
test: machine
	@PYTHONDONTWRITEBYTECODE= $(VENV)/python -m pytest --ignore=tests/scale --ignore=tests/argocd -m 'not sweep and not machine' --numprocesses=$(JOBS) --dist=loadfile --no-loadscope-reorder $(ARGS)

faults: setup
	@BACKSTAY_HYPOTHESIS=long $(VENV)/python -m pytest tests/faults tests/laws tests/bridge/test_fuzz.py tests/contracts/test_installers.py -m 'sweep or not sweep' $(ARGS)

argocd: setup-argocd
	@$(VENV)/python -m pytest tests/argocd $(ARGS)

vm: machine
	@$(VENV)/python -m pytest tests/vm --capture=no $(ARGS)

# What is measured is printed as a table and written to build/bench/*.json. No time is asserted; memory a device and writes
# a step are.
bench: setup-benchmarks
	@$(VENV)/python -m tests.scale $(SIZES)
	@$(VENV)/python -m tests.scale.pages
	@$(VENV)/python -m tests.scale.gateway
	@$(VENV)/python -m tests.scale.devices
	@$(VENV)/python -m tests.scale.agent
	@$(VENV)/python -m tests.scale.release 10000

image: setup
	@$(VENV)/python -m image $(ARGS)

mutants: setup
	@$(VENV)/python scripts/mutants.py $(MODULE) $(if $(TESTS),--tests $(TESTS))

# One target for each, so that `make --keep-going check` tells everything that is wrong.
check: lint formatted types layers generated docs

lint: setup
	$(VENV)/ruff check

formatted: setup
	$(VENV)/ruff format --check

types: setup
	$(VENV)/mypy -p backstay -p demo -p image

layers: setup
	$(VENV)/lint-imports --no-cache

generated: setup
	$(VENV)/python -m backstay.api.crds --check
	$(VENV)/python -m backstay.api.reference --check
	$(VENV)/python -m backstay.bridge.openapi --check
	$(VENV)/python scripts/import_graph.py --check
	$(VENV)/python scripts/state_diagram.py --check
	$(VENV)/python scripts/argocd_cm.py --check
	$(VENV)/python scripts/chart.py --check
	$(VENV)/python scripts/prometheus_rule.py --check
	$(VENV)/python scripts/cli_reference.py --check
	$(VENV)/python scripts/grafana_dashboards.py --check

docs: setup
	NO_MKDOCS_2_WARNING=1 $(VENV)/mkdocs build --strict --quiet

format: setup
	$(VENV)/ruff check --fix-only
	$(VENV)/ruff format

# Universal, so that one lock serves every platform; without the address of any index, which is the machine's business.
UV_COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url
GO_LOCK := operator/backstay/sandbox/kubernetes/requirements-go
GOOSEBIT_LOCK := tests/scale/requirements-goosebit

lock:
	$(UV_COMPILE) --all-extras pyproject.toml -o requirements.lock
	$(UV_COMPILE) --constraint requirements.lock pyproject.toml -o requirements-runtime.lock
	$(UV_COMPILE) $(GO_LOCK).in -o $(GO_LOCK).lock
	$(UV_COMPILE) $(GOOSEBIT_LOCK).in -o $(GOOSEBIT_LOCK).lock

clean:
	rm -rf build .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
