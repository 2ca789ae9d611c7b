#!/usr/bin/env bash
# Draws the sample dataset, trains a small first order motion model on it for about three minutes (two CPU cores), and
# animates people whom it has never seen. Run again, it goes on where it stopped.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

"$PYTHON" script/make_sample_dataset.py --out dataset/sample

run=result/demo
if [ ! -e "$run/trained" ]; then
    continue=--continue_train
    [ -e "$run/log.jsonl" ] || continue=
    "$PYTHON" train.py --config configs/tiny/fomm.yaml --name demo --visdom=no $continue
    touch "$run/trained"
fi

"$PYTHON" test.py --name demo --mode reconstruction --results_dir eval_results/demo/reconstruction
"$PYTHON" test.py --name demo --num_pairs 8 --compare --results_dir eval_results/demo/animation
"$PYTHON" script/compare_with_source.py --results eval_results/demo/reconstruction --dataroot dataset/sample

cat <<'END'

Look at:
  eval_results/demo/animation/index.html       people animated by other people: source | driving | result
  eval_results/demo/reconstruction/index.html  test clips made again from their first frames
  result/demo/pictures                         how training went
END
