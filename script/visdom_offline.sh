#!/usr/bin/env bash
# Puts the files of visdom's page beside visdom, so that the page opens without a network.
#
#   bash script/visdom_offline.sh                  fetch them through npm (a minute, 40 MB) and put them there
#   bash script/visdom_offline.sh --to FILE.tar    the same, and pack them for a machine without a network
#   bash script/visdom_offline.sh --from FILE.tar  put packed files there; needs neither npm nor a network
#
# The environment is that of script/setup.sh: .venv, or GRIMACE_VENV=DIR, or GRIMACE_VENV=none for the active Python.

set -euo pipefail
tar_file=${2:-}
case "$tar_file" in '' | /*) ;; *) tar_file=$PWD/$tar_file ;; esac # before the folder changes
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 2
}

[ $# = 0 ] || [ $# = 2 ] || fail "give nothing, --to FILE.tar, or --from FILE.tar"
case "${1:-}" in '' | --to | --from) ;; *) fail "$1: no such option; --to FILE.tar or --from FILE.tar" ;; esac
[ "${1:-}" != --from ] || [ -f "$tar_file" ] || fail "--from $2: no such file"

python=${GRIMACE_VENV:-.venv}/bin/python
[ "${GRIMACE_VENV:-}" != none ] || python=python3
command -v "$python" >/dev/null || fail "there is no $python; run bash script/setup.sh first"
static=$("$python" -c 'import importlib.util as u; print(u.find_spec("visdom").submodule_search_locations[0] + "/static")' 2>/dev/null) ||
    fail "$python has no visdom; pip install visdom"

# Package, path in it, where visdom's server looks for it (visdom/server/build.py, 0.2.4).
FILES='
jquery@3.1.1              dist/jquery.min.js                     js/jquery.min.js
bootstrap@3.3.7           dist/js/bootstrap.min.js               js/bootstrap.min.js
bootstrap@3.3.7           dist/css/bootstrap.min.css             css/bootstrap.min.css
bootstrap@3.3.7           dist/fonts/glyphicons-halflings-regular.eot    fonts/glyphicons-halflings-regular.eot
bootstrap@3.3.7           dist/fonts/glyphicons-halflings-regular.woff2  fonts/glyphicons-halflings-regular.woff2
bootstrap@3.3.7           dist/fonts/glyphicons-halflings-regular.woff   fonts/glyphicons-halflings-regular.woff
bootstrap@3.3.7           dist/fonts/glyphicons-halflings-regular.ttf    fonts/glyphicons-halflings-regular.ttf
bootstrap@3.3.7           dist/fonts/glyphicons-halflings-regular.svg    fonts/glyphicons-halflings-regular.svg#glyphicons_halflingsregular
react@16.2.0              umd/react.production.min.js            js/react-react.min.js
react-dom@16.2.0          umd/react-dom.production.min.js        js/react-dom.min.js
react-modal@3.1.10        dist/react-modal.min.js                js/react-modal.min.js
plotly.js-dist-min@2.11.1 plotly.min.js                          js/plotly-plotly.min.js
sjcl@1.0.7                sjcl.js                                js/sjcl.js
layout-bin-packer@1.4.0   dist/layout-bin-packer.js              js/layout_bin_packer.js
layout-bin-packer@1.4.0   dist/layout-bin-packer.js.map          js/layout-bin-packer.js.map
d3@3.5.17                 d3.min.js                              js/d3.v3.min.js
d3-selection-multi@1.0.1  build/d3-selection-multi.js            js/d3-selection-multi.v1.js
save-svg-as-png@1.4.17    lib/saveSvgAsPng.js                    js/saveSvgAsPng.js
react-resizable@1.4.6     css/styles.css                         css/react-resizable-styles.css
react-grid-layout@0.16.3  css/styles.css                         css/react-grid-layout-styles.css
classnames@2.2.5          index.js                               fonts/classnames
mathjax@2.7.5             MathJax.js                             js/mathjax/2.7.5/MathJax.js
mathjax@2.7.5             config                                 js/mathjax/2.7.5/config
mathjax@2.7.5             extensions                             js/mathjax/2.7.5/extensions
mathjax@2.7.5             jax                                    js/mathjax/2.7.5/jax
'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/static"

fetch() { # PACKAGE@VERSION: unpack it into its own folder, once
    [ -d "$work/$1" ] && return
    printf '%s\n' "$1" >&2
    (cd "$work" && npm pack --silent "$1" >"$work/packed") ||
        fail "$1: npm cannot fetch it, see above; on a machine with a network: bash script/visdom_offline.sh --to FILE.tar"
    mkdir "$work/$1"
    # Old packages have headers about which tar has something to say: shown only where it fails.
    tar -xzf "$work/$(tail -n 1 "$work/packed")" -C "$work/$1" --strip-components 1 2>"$work/told" ||
        fail "$1: cannot be unpacked: $(tail -n 1 "$work/told")"
}

if [ "${1:-}" = --from ]; then
    tar -xf "$tar_file" -C "$work/static"
    [ -f "$work/static/js/jquery.min.js" ] || fail "--from $2: is not what --to packs; pack it again"
else
    command -v npm >/dev/null || fail "npm is needed to fetch the files; or bring them from elsewhere (--to there, --from here)"
    while read -r package path target; do
        [ -n "$package" ] || continue
        fetch "$package"
        mkdir -p "$(dirname "$work/static/$target")"
        cp -r "$work/$package/$path" "$work/static/$target"
    done <<<"$FILES"
fi
[ "${1:-}" != --to ] || tar -cf "$tar_file" -C "$work/static" .

cp -r "$work/static/." "$static/"
# With its own version in this file visdom's server fetches nothing.
cp "$static/../VERSION" "$static/version.built"
printf 'the files of the page are in %s\n' "$static"
