#!/usr/bin/env bash
# Animates one picture by one video in a container, from files of this machine.
#
#   bash docker/prepare.sh --source_image me.jpg --driving_video talk.mp4 --output out.mp4 [options of test.py]
#
#   GRIMACE_IMAGE=NAME      the image (default: grimace; built when it is absent)
#   GRIMACE_DOCKER=PROGRAM  what runs containers (default: docker; podman takes the same words)
#   GRIMACE_GPUS=all        what --gpus gets; default: none, the CPU

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
docker=${GRIMACE_DOCKER:-docker} image=${GRIMACE_IMAGE:-grimace}

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 2
}

source='' driving='' output='' more=()
while [ $# -gt 0 ]; do
    name=${1%%=*} value=${1#*=}
    case "$name" in
    --source_image | --driving_video | --output)
        if [ "$name" = "$1" ]; then
            [ $# -gt 1 ] || fail "$name: its value is missing"
            value=$2
            shift
        fi
        ;;
    esac
    case "$name" in
    --source_image) source=$value ;;
    --driving_video) driving=$value ;;
    --output) output=$value ;;
    *) more+=("$1") ;;
    esac
    shift
done
[ -f "$source" ] || fail "--source_image ${source:-(missing)}: no such file"
[ -f "$driving" ] || fail "--driving_video ${driving:-(missing)}: no such file"
[ -n "$output" ] || fail "--output FILE is needed, e.g. out.mp4"
mkdir -p "$(dirname "$output")"
for path in "$source" "$driving" "$(dirname "$output")"; do
    case "$(realpath "$path")" in *:*) fail "$path: a container cannot get files whose path has a colon; rename it" ;; esac
done
command -v "$docker" >/dev/null || fail "there is no $docker; GRIMACE_DOCKER names another program"

"$docker" image inspect "$image" >/dev/null 2>&1 || "$docker" build -t "$image" "$root"

gpus=()
[ -z "${GRIMACE_GPUS:-}" ] || gpus=(--gpus "$GRIMACE_GPUS")
exec "$docker" run --rm --shm-size=2g -u "$(id -u):$(id -g)" ${gpus[@]+"${gpus[@]}"} \
    -v "$(realpath "$source"):/in/source/$(basename "$source"):ro" \
    -v "$(realpath "$driving"):/in/driving/$(basename "$driving"):ro" \
    -v "$(realpath "$(dirname "$output")"):/out" \
    "$image" python prepare.py --source_image "/in/source/$(basename "$source")" \
    --driving_video "/in/driving/$(basename "$driving")" --output "/out/$(basename "$output")" ${more[@]+"${more[@]}"}
