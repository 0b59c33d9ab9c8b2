#!/usr/bin/env bash
# The whole pipeline on a toy rock, in about a minute: image -> dataset -> model -> samples -> comparison.
#
#     bash examples/quickstart.sh [FOLDER]      (default: a new temporary folder)
#
# With 20 seconds of training the samples are no more than a taste: TRAIN=30m gives real ones.
set -euo pipefail
examples=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$(mktemp -d)}
mkdir -p "$folder"
cd "$folder"

python "$examples/make_toy_rock.py" rock.tif
dsd ingest rock.tif --phase pore=0 --phase grain=255
dsd train --size 32x32 --batch 16 --max-time "${TRAIN:-20s}"
dsd generate --porosity 0.25 -n 32
dsd evaluate --metrics volume-fraction,two-point,interface
echo "everything lies in $PWD" >&2
