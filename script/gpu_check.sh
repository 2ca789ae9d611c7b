#!/usr/bin/env bash
# Everything that needs a GPU, in under eight minutes: tests, precision, NCCL, tables of animation and training. The
# figures go into docs/benchmarks.md. Stopped, it goes on where it was; see script/benchmark.py gpu --help.
#
#   bash script/gpu_check.sh                 # on GPU 0, with the Python of the environment, or the one that is active
#   bash script/gpu_check.sh --gpu_id -1     # a rehearsal on the CPU, with smaller numbers, written nowhere
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${GRIMACE_VENV:-.venv}/bin/python
[ -x "$python" ] || python=python3
exec "$python" script/benchmark.py gpu "$@"
