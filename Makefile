# Two commands: `make book` builds the site, `make test` tests everything.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
# --all, since Sphinx copies a changed style sheet only if some page changed too.
BOOK := $(BIN)/jupyter-book build -W -n --keep-going --all .

.DEFAULT_GOAL := help
.PHONY: help book test portable check serve chapter bench pdf clean clean-venv environment

help: ## show these lines
	@grep -E '^[a-z-]+:.*##' Makefile | awk -F ':.*## ' '{printf "make %-12s %s\n", $$1, $$2}'

$(INSTALLED): requirements.txt constraints.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "There is no '$(PYTHON)' here. Install Python 3.11, 3.12 or 3.13 and name it: make book PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) tools/environment.py python
	@echo "Installing into .venv; this takes a few minutes, once."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

environment: $(INSTALLED)
	@test -x $(BIN)/python || { echo "There is no Python in .venv. Make it anew, which needs the network: make clean-venv, then the same command again." >&2; exit 1; }
	@$(BIN)/python tools/environment.py packages

book: environment ## build the site to _build/html
	@$(BOOK) || { echo "The book has faults: see the warnings above. Every warning is an error." >&2; exit 1; }
	@echo "The book is at _build/html/index.html; make serve shows it in a browser."

test: environment ## run all tests: package, notebooks, site
	$(BIN)/python -m pytest --nbval --numprocesses auto --dist loadscope

portable: environment ## run notebooks and package under other kernels: C=part/slug LEG=oldest
	@$(BIN)/python -m tools.portable $(C) $(if $(LEG),--leg $(LEG))

check: environment ## run what takes seconds: lint, twins, links, structure
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -q tests/book/test_notebooks.py tests/book/test_pages.py tests/book/test_tolerance.py

serve: ## show the built site on 127.0.0.1:8000
	@test -f _build/html/index.html || { echo "There is no site yet: make book builds it." >&2; exit 1; }
	$(BIN)/python -m http.server --directory _build/html --bind 127.0.0.1 8000

chapter: environment ## execute one chapter: make chapter C=foundations/tensors
	@$(BIN)/python -m tools.chapter $(C)

bench: environment ## measure the NumPy engine against its peers: about eight minutes
	$(BIN)/python -m benchmarks.engine

pdf: book ## print the book to _build/deep-learning-three-ways.pdf
	@$(BIN)/python -m tools.pdf
	@echo "The book is in _build/deep-learning-three-ways.pdf."

clean: ## remove the built site
	rm -rf _build

clean-venv: ## remove the environment
	rm -rf .venv
