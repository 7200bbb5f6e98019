# Two commands do everything: `make run` values the contributors of scikit-learn's digits, `make test` passes the tests.
# Both set up what they need first. `make help` lists the rest.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
OUT    ?= runs/digits
PRESET ?= digits
ARGS   ?=
# Where models and utilities are kept: a folder, s3://bucket/prefix, or s3 for a server that is started for the run and
# keeps them in OUT/s3. Empty: OUT/store.
STORE  ?=
# Test workers: two cores share the work; each test process computes with one thread.
JOBS   ?= 2

.DEFAULT_GOAL := help

.PHONY: help
help: ## List and explain every target
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | awk -F ':.*?## ' '{printf "  \033[1m%-16s\033[0m %s\n", $$1, $$2}'
	@echo
	@echo '  Variables: OUT=folder for results ($(OUT)), PRESET=name ($(PRESET)), STORE=s3, ARGS="more options of pipelines run"'

.PHONY: setup
setup: $(READY) ## Make the virtual environment in .venv with the pinned packages

$(READY): requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "Python 3.11 is needed: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $(READY)

WITH_S3 := $(if $(filter s3,$(STORE)),$(BIN)/python -m pipelines services s3 --folder $(OUT)/s3)
KEPT    := $(if $(STORE),--store $(if $(WITH_S3),s3://valuations/store,$(STORE)))

.PHONY: run
run: $(READY) ## Value the ten contributors of scikit-learn's digits; results in OUT
	$(WITH_S3) $(BIN)/python -m pipelines run --preset $(PRESET) --out $(OUT) $(KEPT) $(ARGS)

.PHONY: services-up
services-up: $(READY) ## Start an S3 server (SeaweedFS) and an MLflow server to try things with; prints how to use them
	$(BIN)/python -m pipelines services up

.PHONY: services-down
services-down: $(READY) ## Stop the servers of services-up
	$(BIN)/python -m pipelines services down

.PHONY: test
test: $(READY) ## Run all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadgroup

.PHONY: faults
faults: $(READY) ## Kill tasks of a shard at twenty random moments, on local files and on S3, and say what came of it
	OMP_NUM_THREADS=1 SHARD_KILLS=20 $(BIN)/python -m pytest -rP -k killed_at_random tests/stages/test_killed_shards.py

.PHONY: lint
lint: $(READY) ## Check style, types and the layers between packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(READY) ## Format the code and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: compile
compile: $(READY) ## Compile the pipelines to build/*.yaml, ready for the Kubeflow UI
	$(BIN)/python -m pipelines compile

.PHONY: manifests
manifests: $(READY) ## Render every overlay of k8s/ into build/manifests, and check them
	mkdir -p build/manifests
	for overlay in kind gpu prod; do \
	  kubectl kustomize k8s/overlays/$$overlay > build/manifests/$$overlay.yaml || exit 1; done
	test -x runs/checkov/bin/python || $(PYTHON) -m venv runs/checkov
	runs/checkov/bin/python -m pip install --quiet --disable-pip-version-check checkov==3.3.30
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/k8s

.PHONY: mlflow
mlflow: $(READY) ## Open MLflow on the runs so far, at http://127.0.0.1:5000
	$(BIN)/mlflow ui --backend-store-uri sqlite:///$(dir $(abspath $(OUT)))mlflow.db --host 127.0.0.1 --port 5000

.PHONY: bench
bench: $(READY) ## Measure speed: coalitions per hour against diffusers' documentation, and the utility store
	$(BIN)/python -m benchmarks.coalitions --out runs/bench
	$(BIN)/python -m benchmarks.store
	$(BIN)/python -m benchmarks.growth --out runs/growth

.PHONY: bench-estimators
bench-estimators: $(READY) ## Judge the estimators on games whose values are known, against shap, shapiq and pyDVL
	test -x runs/peers/bin/python || $(PYTHON) -m venv runs/peers
	runs/peers/bin/python -m pip install --quiet shap==0.51.0 shapiq==1.4.1 pandas pyarrow
	test -x runs/pydvl/bin/python || $(PYTHON) -m venv runs/pydvl
	runs/pydvl/bin/python -m pip install --quiet pyDVL==0.10.0 pandas pyarrow==18.1.0
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.estimators measure --out runs/estimators \
	  --peers shap,shapiq=$(CURDIR)/runs/peers/bin/python pydvl=$(CURDIR)/runs/pydvl/bin/python
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.estimators scale
	OMP_NUM_THREADS=1 runs/peers/bin/python -m benchmarks.race
	$(BIN)/python -m benchmarks.estimators report --out runs/estimators

.PHONY: fidelity
fidelity: $(READY) ## Measure how true sparsified fine-tuning is to retraining (hours; goes on where it was killed)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.fidelity measure --out runs/fidelity
	$(BIN)/python -m benchmarks.fidelity report --out runs/fidelity

# The small budget retrains models of a smaller training: ten seconds each instead of fifty, and less good images.
SMALL := --set training.steps=500 --set training.batch_size=16 --set training.learning_rate=0.002 \
  --set training.ema_decay=0.99 --set finetuning.steps=80
# Of OpenMoji the adapter: retrained from one base model it differs by whose images it sees, a DDPM as much by its seed.
ADAPTER := --set training.precision=auto --set finetuning.precision=auto --set generation.precision=auto \
  --set model.lora.base.training.precision=auto
# The night measures as many coalitions of the digits per contributor as the paper does on CIFAR-20.
NIGHT := --set game.n_coalitions=250
BUDGET ?= small

.PHONY: reproduce
reproduce: $(READY) ## The paper's tables and figures (docs/evidence.md): BUDGET=small in 20 minutes, or night, with openmoji
	$(BIN)/python -m pipelines run --out runs/reproduce/digits-$(BUDGET) $(if $(filter small,$(BUDGET)),$(SMALL),$(NIGHT))
	$(BIN)/python -m pipelines evaluate --budget $(BUDGET) --valuation runs/reproduce/digits-$(BUDGET)
ifeq ($(BUDGET),night)
	$(BIN)/python -m pipelines run --preset openmoji-lora --out runs/reproduce/openmoji-night $(ADAPTER)
	$(BIN)/python -m pipelines evaluate --budget night --valuation runs/reproduce/openmoji-night \
	  --set evaluation.n_held_out=20 --set evaluation.n_repeated=10 \
	  --set evaluation.n_retrained=0 --set evaluation.n_finetuned=52 --set evaluation.n_compared=5
endif

.PHONY: presets
presets: $(READY) ## Build every preset's network; sizes, speed and memory before and after pruning into docs/presets.md
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.presets

.PHONY: images
images: $(READY) ## Build the components' images: REGISTRY=… TAG=…, and TORCH, BASE_IMAGE, BUILDER (docs/images.md)
	$(if $(REGISTRY),IMAGE_REGISTRY=$(REGISTRY)) $(if $(TAG),IMAGE_TAG=$(TAG)) $(BIN)/python images/build.py \
	  $(if $(TORCH),--torch $(TORCH)) $(if $(BASE_IMAGE),--base-image $(BASE_IMAGE)) $(if $(BUILDER),--builder $(BUILDER))

.PHONY: test-images
test-images: $(READY) ## Build the images and run a whole valuation in them (root, podman, runc, debootstrap; minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -v tests/images/valuation_in_containers.py

.PHONY: lock
lock: $(READY) ## Write requirements.txt from the versions in .venv
	{ echo '# Every package of the laptop and CI environment, pinned: written by `make lock`.'; \
	  $(BIN)/python -m pip freeze --exclude-editable | sed 's/^\(torch==[0-9.]*\).*/\1/'; } > requirements.txt

.PHONY: lock-images
lock-images: $(READY) ## Write images/*.lock: what the images need by pyproject.toml, in the versions of requirements.txt
	$(BIN)/python images/lock.py

.PHONY: clean
clean: ## Remove the virtual environment, caches and compiled pipelines; results stay
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
