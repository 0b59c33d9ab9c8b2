#!/usr/bin/env bash
# In-painting in 3D, in a few minutes: a toy volume, a 3D model, and a ball and a box filled with the counts they had.
#
#     bash examples/inpaint_3d.sh [FOLDER]      (default: a new temporary folder)
set -euo pipefail
examples=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$(mktemp -d)}
mkdir -p "$folder"
cd "$folder"

python "$examples/make_toy_rock.py" rock.tif --shape 96 80 80
dsd ingest rock.tif --phase pore=0 --phase grain=255
dsd train --size 16x16x16 --batch 8 --max-time "${TRAIN:-2m}"
dsd inpaint rock.tif --disk 84,40,40,7 --box 50:58,64:80,0:9 -n 4 -o filled.tif
echo "everything lies in $PWD" >&2
