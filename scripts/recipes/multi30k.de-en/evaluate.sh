#!/usr/bin/env bash
# Score what train.sh trained: evaluate.sh DATA_BIN ADAPTIVE_CHECKPOINTS STOCK_CHECKPOINTS [RESULTS]
#
# Validation and test BLEU at each exit, with drawn exits and by confidence, and of the stock model beside it. RESULTS is a
# CSV, results.csv beside this script by default; what it holds of these checkpoints is not measured again.
set -euo pipefail

if (( $# < 3 || $# > 4 )); then
  echo "usage: $0 DATA_BIN ADAPTIVE_CHECKPOINTS STOCK_CHECKPOINTS [RESULTS]" >&2
  exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
data_bin=$1 adaptive=$2 stock=$3 results=${4:-$here/results.csv}

evaluate() {
  depth-adaptive evaluate "$data_bin" --results "$results" --beam 5 --max-len-a 1.2 --max-len-b 10 "$@"
}

for subset in valid test; do
  evaluate --gen-subset $subset --path "$stock/checkpoint_best.pt" --model-name stock --task translation --policies stock
  evaluate --gen-subset $subset --path "$adaptive/checkpoint_best.pt" --model-name adaptive \
    --policies fixed:{1..5} full uniform confidence:{0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9}
done
