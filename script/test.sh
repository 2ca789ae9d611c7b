#!/usr/bin/env bash
# Checks style and types, and runs the tests in two processes (`-n 0`: in this one, `-n 8`: in eight). Arguments go to
# pytest: bash script/test.sh -k options. With --fast before them it leaves out slow tests, the reference cases and what
# starts scripts.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

if [ "${1:-}" = --fast ]; then
    shift
    set -- -m "not slow" --ignore tests/data/preparation/test_preparation.py --ignore tests/script \
        --ignore tests/models/test_reference.py --ignore tests/models/test_reference_variants.py "$@"
fi
"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .
"$PYTHON" -m mypy
OMP_NUM_THREADS=1 exec "$PYTHON" -m pytest --numprocesses 2 --dist worksteal "$@"
