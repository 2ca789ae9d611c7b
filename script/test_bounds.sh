#!/usr/bin/env bash
# Tests with the lowest versions that requirements.txt allows, on the oldest Python: bash script/test_bounds.sh [DIR]
# (the highest ones are what script/test.sh installs). The environment is made in DIR (default: .venv-lowest).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=${1:-.venv-lowest}
shift || true

if [ ! -x "$folder/bin/python" ]; then
    python3.10 -m venv "$folder"
fi
"$folder/bin/python" -m pip install --quiet --upgrade pip uv
"$folder/bin/uv" pip install --python "$folder/bin/python" --resolution lowest-direct \
    --build-constraints requirements-build.txt -r requirements.txt -r requirements-dev.txt
"$folder/bin/python" script/check_environment.py
OMP_NUM_THREADS=1 "$folder/bin/python" -m pytest "$@"
