#!/usr/bin/env bash
# Draws the sample dataset and trains a small first order motion model on it for about three minutes (two CPU cores), as
# the run `demo` of a folder (default: result). Run again, it goes on where it stopped.
#
#   bash script/train_demo.sh [FOLDER OF RUNS]
#
# PYTHON names the Python to use; without it the environment is made as by script/demo.sh.
set -euo pipefail
[ -n "${PYTHON:-}" ] || source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
runs=${1:-result}

"$PYTHON" "$here/make_sample_dataset.py" --out dataset/sample
# Training reads frames at random: fast from packed clips of the size that it needs.
"$PYTHON" "$here/pack_frames.py" --in dataset/sample/train --out dataset/sample_64/train --size 64
continue=
[ ! -e "$runs/demo/log.jsonl" ] || continue=--continue_train
exec "$PYTHON" "$here/../train.py" --config "$here/../configs/tiny/fomm.yaml" --dataroot dataset/sample_64 --name demo \
    --checkpoints_dir "$runs" --visdom=no $continue
