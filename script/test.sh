#!/usr/bin/env bash
# Checks the style and runs the tests, in up to four processes at once (`-n 0`: in this one). Arguments go to pytest:
#   bash script/test.sh -k options
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .
OMP_NUM_THREADS=1 exec "$PYTHON" -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal "$@"
