# Two commands: `make test` and `make demo`. Each builds the environment first, in .venv.
PYTHON ?= python3
# The ROS 2 distribution that comes from PyPI where none is sourced: jazzy or kilted.
ROS ?= jazzy
VENV := .venv$(if $(filter-out jazzy,$(ROS)),-$(ROS))
BIN := $(VENV)/bin
# Two tests at a time, each with one thread.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: test test-all lint demo docs gpu environment clean

# Before a commit: all but the slow tests.
test: lint
	$(PYTEST) -m "not slow"

# Before a release: the slow tests too (soak, stress, a hundred lifecycle cycles, whole training runs).
test-all: lint
	$(PYTEST)

# As modules, because a tool of the system has no script in .venv.
lint: environment
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m codespell_lib
	$(BIN)/python -m mypy
	$(BIN)/lint-imports --no-logo

# Plays a street through the running node and leaves pictures and a report in demo/.
# DRIVE=path/to/2011_09_26_drive_0005_sync plays a KITTI raw drive instead of a generated street,
# CHECKPOINT=file.safetensors uses other weights than those that come with the package.
demo: environment
	$(BIN)/depthformer demo --output demo \
		$(if $(DRIVE),--drive "$(DRIVE)") $(if $(CHECKPOINT),--checkpoint "$(CHECKPOINT)")

# The pages of docs/ and the API reference as a site in build/site/; a warning is an error.
docs: $(VENV)/docs-ready
	$(BIN)/python -m mkdocs build

$(VENV)/docs-ready: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	@touch $@

# On a machine with an NVIDIA GPU: the tests that need one, and what docs/performance.md has of it.
gpu: environment
	$(BIN)/python -m pytest -m gpu
	$(BIN)/python -m depthformer_core.benchmark.attention --device cuda
	$(BIN)/python -m depthformer_core.benchmark.attention --device cuda --gradients --runs 5
	$(BIN)/depthformer benchmark small swin_large_kitti --device cuda --runs 30
	$(BIN)/depthformer benchmark-training swin_large_kitti --device cuda --batch-size 2 --workers 8

environment: $(VENV)/ready

ifdef ROS_DISTRO
# On top of the sourced ROS: its rclpy, and the NumPy that its messages were built with.
$(VENV)/ready: setup.py package.xml
	@echo "Building $(VENV) on top of ROS 2 $(ROS_DISTRO) (about 6 GB, some minutes)"
	$(PYTHON) -m venv --clear --system-site-packages $(VENV)
	$(BIN)/python -c "import numpy; print(f'numpy=={numpy.__version__}')" > $(VENV)/constraints.txt
	$(BIN)/python -m pip install --quiet --constraint $(VENV)/constraints.txt --editable ".[train,report,test]"
	@touch $@
else
# ROS 2 from PyPI, which has it for these Pythons.
$(VENV)/ready: setup.py package.xml
	@$(PYTHON) -c "import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))" || { \
		echo "Python 3.10 to 3.13 is needed, $(PYTHON) is $$($(PYTHON) --version);" \
			"name another one: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Building $(VENV) with ROS 2 $(ROS) from PyPI (about 6 GB, some minutes)"
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[ros-$(ROS),train,report,test]"
	@touch $@
endif

clean:
	rm -rf .venv .venv-* build install log demo
