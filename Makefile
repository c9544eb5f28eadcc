# make demo    track a clip through real ROS 2 processes; VIDEO=path for one's own (its environment: .venv-demo, or .venv)
# make setup   everything that the other targets need, into .venv and install/ (they call it)
# make test    lint, types and tests
# make test-fast   lint, types and what can be tested of the tracker's core in two minutes, for daily work
# make docs    the documentation's site, into site/
# make clean   remove what was built; .venv and .venv-demo stay (remove the folders by hand to start afresh)

SHELL := /bin/bash
VIDEO ?=
PRESET ?= y-smotracker
TEST ?= test

.PHONY: setup setup-demo demo test test-fast lint docs clean lock help

help:
	@sed -n 's/^# //p' Makefile

setup:
	@python3 tools/setup_environment.py

setup-demo:
	@python3 tools/setup_environment.py --small

demo: setup-demo
	@. tools/environment.bash && python -m smotracker_ros.ros.demo --output demo_output --preset $(PRESET) $(if $(VIDEO),--video "$(VIDEO)")

lint: setup
	@. tools/environment.bash && ruff check . && mypy

test: lint
	@. tools/environment.bash && python -m pytest $(TEST)

test-fast: lint
	@. tools/environment.bash && export OMP_NUM_THREADS=1 && failed=0 && \
	{ python -m pytest -q -m "not slow" test/core test/test_house.py test/test_presets.py & others=$$!; } && \
	{ python -m pytest -q -m "not slow" test/tracking || failed=1; wait $$others || failed=1; exit $$failed; }

docs:
	@test -x .venv-docs/bin/mkdocs || { python3 -m venv .venv-docs && .venv-docs/bin/pip install -q -r requirements/docs.txt; }
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

lock: setup
	@.venv/bin/python tools/lock.py

clean:
	rm -rf build install log demo_output site .pytest_cache .mypy_cache .ruff_cache .venv/stamps/package .venv/stamps/vision_msgs .venv/stamps/tf2_msgs
	rm -rf .venv-demo/build .venv-demo/install .venv-demo/log .venv-demo/stamps/package .venv-demo/stamps/vision_msgs .venv-demo/stamps/tf2_msgs
