# Everything is built in build/ and installed in .venv; see `make help`.

PYTHON ?= python3
JOBS ?= $(shell nproc)
# For `make cuda`: what the kernels are compiled for; CMake's own default if empty. And what is built.
CUDA_ARCHITECTURES ?=
TARGET ?= all

VENV := .venv
VENV_CUDA := .venv-cuda
BUILD := build
DIST := dist

# ---- Nothing to set below ----------------------------------------------------------------------

BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
PIP_INSTALL := $(BIN)/python -m pip install --quiet
REQUIREMENTS := $(BIN)/python scripts/requirements.py
# cmake and ninja are those of .venv, for make and for the wheel: they share a build tree.
IN_VENV := PATH="$$PWD/$(BIN):$$PATH"

# Folders too, so that a file that is added or removed counts. third_party/ comes by its files.
WHEEL_SOURCES := $(shell find python/jaxmg include src ffi cmake third_party \
                   \( -name __pycache__ -o -name _lib \) -prune -o -print 2>/dev/null) \
                 CMakeLists.txt CMakePresets.json pyproject.toml scripts/wheel_backend.py README.md LICENSE VERSION

.DEFAULT_GOAL := build
.DELETE_ON_ERROR:
.NOTPARALLEL:
.SUFFIXES:

.PHONY: help
help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' Makefile

# ---- .venv ---------------------------------------------------------------------------------------

$(STAMPS)/venv:
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP_INSTALL) --upgrade pip
	@mkdir -p $(STAMPS) && touch $@

# A list of requirements is written anew only where it differs, so that other changes of
# pyproject.toml install nothing.
$(STAMPS)/%.txt: pyproject.toml scripts/requirements.py $(STAMPS)/venv
	@$(REQUIREMENTS) $(GROUPS_OF_$*) > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

GROUPS_OF_tools := build
GROUPS_OF_packages := dependencies test bench plot
GROUPS_OF_lint := lint
GROUPS_OF_cuda := cuda
GROUPS_OF_wheel := build-system

$(STAMPS)/%: $(STAMPS)/%.txt
	$(PIP_INSTALL) --requirement $<
	@touch $@

.PRECIOUS: $(STAMPS)/%.txt

# ---- C++ -----------------------------------------------------------------------------------------

$(BUILD)/.configured: $(STAMPS)/tools CMakePresets.json
	$(IN_VENV) cmake --preset dev
	@touch $@

# Configures once more when GoogleTest and the tester's libraries have just come.
$(BUILD)/.configured-with-tests: $(BUILD)/.configured
	scripts/install_cpp_dependencies.sh
	$(IN_VENV) cmake --preset dev
	@touch $@

.PHONY: build
build: $(BUILD)/.configured  ## Build everything in build/ that the libraries at hand allow (default)
	$(IN_VENV) cmake --build $(BUILD) --parallel $(JOBS)

# NVIDIA's headers and libraries of CUDA 12 and 13, 3 GB, in an environment of their own, where CMake
# looks for them first.
$(VENV_CUDA)/.installed: $(STAMPS)/cuda.txt
	$(PYTHON) -m venv --clear $(VENV_CUDA)
	$(VENV_CUDA)/bin/python -m pip install --quiet --requirement $<
	@touch $@

.PHONY: cuda
cuda: $(VENV_CUDA)/.installed $(STAMPS)/tools  ## Build everything in build/, with CUDA 12 and 13 from PyPI
	$(IN_VENV) cmake --preset dev -D JAXMG_CUDA="12;13" \
	  $(if $(CUDA_ARCHITECTURES),-D JAXMG_CUDA_ARCHITECTURES="$(CUDA_ARCHITECTURES)",-U JAXMG_CUDA_ARCHITECTURES)
	@touch $(BUILD)/.configured
	$(IN_VENV) cmake --build $(BUILD) --parallel $(JOBS) --target $(TARGET)

.PHONY: tester
tester: $(BUILD)/.configured-with-tests  ## Build build/bin/jaxmg_tester
	$(IN_VENV) cmake --build $(BUILD) --parallel $(JOBS) --target jaxmg_tester

# ---- Python --------------------------------------------------------------------------------------

$(DIST)/.built: $(WHEEL_SOURCES) $(BUILD)/.configured $(STAMPS)/wheel
	@rm -f $(DIST)/*.whl
	$(IN_VENV) python -m pip wheel . --quiet --no-build-isolation --no-deps --wheel-dir $(DIST) \
	  --config-settings build-dir=$(BUILD) --config-settings cmake.args=--preset=dev
	@touch $@

$(STAMPS)/jaxmg: $(DIST)/.built $(STAMPS)/packages
	$(PIP_INSTALL) --force-reinstall --no-deps $(DIST)/*.whl
	@touch $@

.PHONY: wheel
wheel: $(DIST)/.built  ## Build the wheel in dist/, with all engines of build/ (after `make cuda`: all there are)

.PHONY: sdist
sdist: $(STAMPS)/wheel  ## Build the source distribution in dist/
	$(IN_VENV) python -c "from scikit_build_core import build; print(build.build_sdist('$(DIST)'))"

.PHONY: setup
setup: $(STAMPS)/jaxmg  ## Make .venv, with jaxmg and all that its tests need

.PHONY: demo
demo: setup  ## Run a Gaussian process on handwritten digits; results in build/demo
	$(BIN)/python examples/python/digits_gp.py --output $(BUILD)/demo

# ---- Tests ---------------------------------------------------------------------------------------

.PHONY: test
test: test-cpp test-python  ## Run all tests, C++ and Python

# Without a GPU those would only be skipped, one process after the other.
WITHOUT_GPUS = $(if $(shell nvidia-smi -L 2>/dev/null),,--label-exclude cuda)

.PHONY: test-cpp
test-cpp: $(BUILD)/.configured-with-tests build  ## Run the C++ tests
	$(IN_VENV) ctest --preset dev --parallel $(JOBS) $(WITHOUT_GPUS)

.PHONY: test-python
test-python: setup  ## Run the Python tests
	$(BIN)/python -m pytest tests/python -m "not processes"

.PHONY: test-processes
test-processes: setup  ## Run the Python tests of jobs of several processes
	$(BIN)/python -m pytest tests/python -m processes

.PHONY: test-full
test-full: export JAXMG_TEST_FULL := 1
test-full: test test-processes sanitize-address sanitize-thread  ## Run all tests with their widest sweeps, and the sanitizers

.PHONY: sanitize-address
sanitize-address: sanitize-asan  ## Run the C++ tests, with the smallest and the largest dtype, under AddressSanitizer and UndefinedBehaviorSanitizer

.PHONY: sanitize-thread
sanitize-thread: sanitize-tsan  ## Run the C++ tests under ThreadSanitizer, in double precision, without the slow ones and those of accuracy alone

sanitize-%: build-%/.configured
	$(IN_VENV) cmake --build --preset $* --parallel $(JOBS)
	$(IN_VENV) ctest --preset $*$(if $(JAXMG_TEST_FULL),,-two-dtypes) --parallel $(JOBS)

build-%/.configured: $(STAMPS)/tools CMakePresets.json
	scripts/install_cpp_dependencies.sh
	$(IN_VENV) cmake --preset $*
	@touch $@

.PRECIOUS: build-%/.configured

# ---- Style ---------------------------------------------------------------------------------------

.PHONY: lint
lint: $(STAMPS)/packages $(STAMPS)/lint  ## Check format, style, types, spelling and layers
	scripts/lint.sh

.PHONY: format
format: $(STAMPS)/lint  ## Format all files
	scripts/lint.sh --fix

.PHONY: clean
clean:  ## Remove what was built; .venv stays, without jaxmg
	rm -rf $(BUILD) build-* $(DIST)
	rm -f $(STAMPS)/jaxmg
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m pip uninstall --quiet --yes jaxmg; fi
