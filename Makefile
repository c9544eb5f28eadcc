# make setup   everything needed, into .venv and install/ (the other targets call it)
# make demo    track a clip through real ROS 2 processes; VIDEO=path for one's own
# make test    lint, types and tests
# make test-fast   lint, types and what can be tested of the tracker's core in two minutes, for daily work
# make clean   remove what was built; .venv stays (remove the folder by hand to start afresh)

SHELL := /bin/bash
VIDEO ?=
PRESET ?= y-smotracker
TEST ?= test

.PHONY: setup demo test test-fast lint clean lock help

help:
	@sed -n 's/^# //p' Makefile

setup:
	@python3 tools/setup_environment.py

demo: setup
	@. tools/environment.bash && python -m smotracker_ros.ros.demo --output demo_output --preset $(PRESET) $(if $(VIDEO),--video "$(VIDEO)")

lint: setup
	@. tools/environment.bash && ruff check . && mypy

test: lint
	@. tools/environment.bash && python -m pytest $(TEST)

test-fast: lint
	@. tools/environment.bash && export OMP_NUM_THREADS=1 && failed=0 && \
	{ python -m pytest -q -m "not slow" test/core test/test_house.py test/test_presets.py & others=$$!; } && \
	{ python -m pytest -q -m "not slow" test/tracking || failed=1; wait $$others || failed=1; exit $$failed; }

lock: setup
	@.venv/bin/python tools/lock.py

clean:
	rm -rf build install log demo_output .pytest_cache .mypy_cache .ruff_cache .venv/stamps/package .venv/stamps/vision_msgs
