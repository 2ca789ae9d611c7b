#!/usr/bin/env bash
# Makes the model that ships with Grimace (weights/README.md): draws people, learns from them, exports, measures.
# About ten hours on two CPU cores. Stopped at any moment, the same command goes on; on another machine too, with
# result/own and result/own_people copied there. Without these, FROM=weights/own goes on from the weights that ship.
#   bash script/train_own_model.sh
#   STEPS=4000 IDENTITIES=360 bash script/train_own_model.sh         # less of everything
#   REAL=dataset/mine bash script/train_own_model.sh                 # also measures clips of prepare_videos.py
#   REAL=dataset/mine PORTRAITS=faces bash script/train_own_model.sh # and portraits animated by each of these clips
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

echo "3/4  exporting into ${OUT:-weights/own}"
"$PYTHON" script/export_weights.py --run "$run" --out "${OUT:-weights/own}" --float32 region_predictor bg_predictor generator

echo "4/4  measuring"
measure() { # the folder of clips, the name of the results, what to measure
    "$PYTHON" test.py --name own --mode reconstruction --dataset_mode frames --dataroot "$1" --max_clips "${CLIPS:-40}" \
        --overwrite --results_dir "eval_results/$2" "${@:3}"
}
measure "$people" own_drawn --protocol sample --drawn_truth "$people/truth"
if [ -n "${REAL:-}" ]; then
    measure "$REAL" own_real --protocol real
fi
if [ -n "${REAL:-}" ] && [ -n "${PORTRAITS:-}" ]; then
    pairs=$run/pairs.csv
    echo source,driving >"$pairs"
    for portrait in "$PORTRAITS"/*; do
        for clip in "$REAL"/test/*.clip; do echo "$(realpath "$portrait"),$(realpath "$clip")" >>"$pairs"; done
    done
    "$PYTHON" test.py --name own --dataset_mode frames --pairs "$pairs" --crop_image --overwrite \
        --results_dir eval_results/own_cross --metrics pose,opening/mouth,opening/eyes,id/dlib
fi
