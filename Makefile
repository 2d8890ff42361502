# `make help` lists the targets. The work is done by the commands in bin/; this only gives them short names.
PYTHON := .venv/bin/python
COMPILE := $(PYTHON) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make requirements"

.DEFAULT_GOAL := help
.PHONY: help setup demo real test check requirements messages bench

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' Makefile

setup: ## install what is missing, also for tests and checks
	bin/setup dev gettext

demo: ## the main job on demo data, then the pages
	bin/demo

real: ## the main job on The Complete Journey, then the pages
	bin/demo --real

test: ## the tests; on PostgreSQL with DATABASE_URL
	bin/test

check: ## style, types, imports, migrations, translations, templates, links, then the tests
	bin/check
	bin/test

requirements: ## pin requirements*.in, with hashes, into requirements*.txt
	$(COMPILE) requirements.in --output-file requirements.txt
	$(COMPILE) requirements-dev.in --output-file requirements-dev.txt
	$(COMPILE) requirements-real.in --output-file requirements-real.txt
	$(COMPILE) requirements-bench.in --output-file requirements-bench.txt

messages: ## collect the texts to translate and compile the translations
	bin/setup dev gettext
	$(PYTHON) bin/check-messages --update
	$(PYTHON) bin/compile-messages

bench: ## what it measures, and how to run each
	@cat bench/README.md
