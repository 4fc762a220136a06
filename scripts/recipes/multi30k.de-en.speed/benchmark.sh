#!/usr/bin/env bash
# Time what train.sh trained: benchmark.sh DATA_BIN CHECKPOINTS
#
# Writes benchmark.json beside this script, or OUT, and prints a table. ENGINES, BATCH_SIZES, THREADS, REPETITIONS and SENTENCES
# take the place of what is set below. CTranslate2 takes part where it is installed.
set -euo pipefail

if (( $# != 2 )); then
  echo "usage: $0 DATA_BIN CHECKPOINTS" >&2
  exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
data_bin=$1 checkpoints=$2

engines=(stock full full@int8 geometric:0.3 geometric:0.3@int8 geometric:0.4 geometric:0.4@int8 fixed:1 fixed:2 fixed:3)
if python -c 'import ctranslate2' 2> /dev/null; then
  engines+=(ct2 ct2@int8)
fi
read -ra engines <<< "${ENGINES:-${engines[*]}}"
exec depth-adaptive benchmark "$data_bin" --path "$checkpoints/geometric/checkpoint_last.pt" \
  --engines "${engines[@]}" --batch-sizes ${BATCH_SIZES:-1 32 128} --threads ${THREADS:-1 2} \
  --repetitions "${REPETITIONS:-2}" --sentences "${SENTENCES:-0}" --out "${OUT:-$here/benchmark.json}" \
  --options --max-len-a 1.2 --max-len-b 10
