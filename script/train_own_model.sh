#!/usr/bin/env bash
# Makes the model that ships with Grimace (weights/README.md): draws people, learns from them, measures, exports.
# About ten hours on two CPU cores. Stopped at any moment, the same command goes on; on another machine too, with
# result/own and result/own_people copied there. Without these, FROM=weights/own goes on from the weights that ship.
#   bash script/train_own_model.sh
#   STEPS=4000 IDENTITIES=360 bash script/train_own_model.sh         # less of everything
#   REAL=dataset/mine bash script/train_own_model.sh                 # also measures clips of prepare_videos.py
#   FROM=weights/own bash script/train_own_model.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
people=result/own_people run=result/own
STEPS=${STEPS:-40000} IDENTITIES=${IDENTITIES:-640}

echo "1/4  drawing people into $people"
"$PYTHON" script/make_sample_dataset.py --variety rich --out "$people" --identities "$IDENTITIES" --clips 3 --frames 10 \
    --stride 8 --size 128 --seed 1

echo "2/4  training into $run"
start=
if [ -e "$run/latest_training.pth" ]; then
    start=--continue_train
elif [ -n "${FROM:-}" ]; then
    # These networks know how to move: the motion need not learn first.
    start="--init_from $FROM --motion_first 0"
fi
# Clips stay in the memory of one process.
"$PYTHON" train.py --config configs/own.yaml --dataroot "$people" --name own --steps "$STEPS" --nThreads 0 --visdom=no $start

echo "3/4  measuring"
measure() { # the folder of clips, the name of the results
    "$PYTHON" test.py --name own --mode reconstruction --dataset_mode frames --dataroot "$1" --max_clips "${CLIPS:-40}" \
        --format png --results_dir "eval_results/$2" --overwrite
}
measure "$people" own_drawn
if [ -n "${REAL:-}" ]; then
    measure "$REAL" own_real
    "$PYTHON" script/evaluate.py --generated eval_results/own_real --real "$REAL/test" --protocol real
fi

echo "4/4  exporting into ${OUT:-weights/own}"
"$PYTHON" script/export_weights.py --run "$run" --out "${OUT:-weights/own}" --float32 region_predictor
