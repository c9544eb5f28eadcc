# make setup   everything needed, into .venv and install/ (the other targets call it)
# make demo    track a clip through real ROS 2 processes; VIDEO=path for one's own
# make test    lint, types and tests
# make clean   remove what was built; .venv stays (remove the folder by hand to start afresh)

SHELL := /bin/bash
VIDEO ?=
PRESET ?= y-smotracker
TEST ?= test

.PHONY: setup demo test lint clean lock help

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

lock: setup
	@.venv/bin/python tools/lock.py

clean:
	rm -rf build install log demo_output .pytest_cache .mypy_cache .ruff_cache .venv/stamps/package .venv/stamps/vision_msgs
