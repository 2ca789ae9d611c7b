#!/usr/bin/env bash
# Animates a drawn person with the model that ships with Grimace, then draws the sample dataset, trains a small first order
# motion model on it for about three minutes (two CPU cores), and animates people whom it has never seen. Run again, it
# goes on where it stopped.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

echo "1/3  animating a drawn person with the model that ships with Grimace"
"$PYTHON" script/make_sample_dataset.py --out dataset/first --identities 4 --clips 2 --layouts
"$PYTHON" test.py --checkpoint weights/own --name own --source_image "dataset/first/train/id000#00.mp4" \
    --driving_video "dataset/first/test/id003#01.mp4" --compare --overwrite --output eval_results/demo/own.mp4

echo "2/3  drawing the sample dataset and training"
bash script/train_demo.sh

echo "3/3  animating people who were not trained on"
"$PYTHON" test.py --name demo --dataroot dataset/sample --num_pairs 6 --compare --overwrite --results_dir eval_results/demo/animation
"$PYTHON" test.py --name demo --dataroot dataset/sample --mode reconstruction --overwrite --results_dir eval_results/demo/reconstruction

cat <<'END'

Look at:
  eval_results/demo/own.mp4                    the model that ships: source | driving | result (weights/README.md)
  eval_results/demo/animation/index.html       people animated by other people: source | driving | result
  eval_results/demo/reconstruction/index.html  test clips made again from their first frames
  result/demo/pictures                         how training went
Next: README.md, "Quick start", and docs/README.md.
END
