#!/usr/bin/env bash
# Train what benchmark.sh decodes: train.sh DATA_BIN CHECKPOINTS
#
# The paper's IWSLT sizes on Multi30k De-En (prepare_data.py multi30k.de-en), for about an hour on two CPU cores: aligned, at
# first with an inverse-square-root rate, then with one that falls linearly to nothing, then with a geometric-like halting
# classifier. A run that was interrupted goes on from its last checkpoint.
set -euo pipefail

if (( $# != 2 )); then
  echo "usage: $0 DATA_BIN CHECKPOINTS" >&2
  exit 2
fi
data_bin=$1 checkpoints=$2

# phase FOLDER OPTION...
phase() {
  local folder=$checkpoints/$1
  shift
  if [[ -f $folder/trained ]]; then return; fi
  fairseq-train "$data_bin" --user-dir depth_adaptive_fairseq --task depth_adaptive_translation \
    --arch depth_adaptive_transformer_iwslt_de_en --encoder-normalize-before --decoder-normalize-before \
    --criterion depth_adaptive_cross_entropy --label-smoothing 0.1 \
    --optimizer adam --adam-betas '(0.9, 0.98)' --clip-norm 3 --max-tokens 1536 --seed 1 \
    --no-epoch-checkpoints --save-interval-updates 100 --keep-interval-updates 1 --validate-interval-updates 700 \
    --log-format simple --log-interval 50 --save-dir "$folder" "$@"
  touch "$folder/trained"
}

phase aligned --dropout 0.1 --lr 1e-3 --lr-scheduler inverse_sqrt --warmup-updates 400 --max-update 600
if [[ ! -f $checkpoints/decayed/checkpoint_last.pt ]]; then
  mkdir -p "$checkpoints/decayed"
  cp "$checkpoints/aligned/checkpoint_last.pt" "$checkpoints/decayed/"
fi
phase decayed --dropout 0 --lr 1.6e-3 --lr-scheduler polynomial_decay --warmup-updates 1 --total-num-update 1150 \
  --reset-lr-scheduler --max-update 1000
phase geometric --finetune-from-model "$checkpoints/decayed/checkpoint_last.pt" --halting geometric --exit-loss-weight 1 \
  --oracle likelihood --oracle-penalty "${LAMBDA:-0.2}" --dropout 0 --lr 3e-4 --lr-scheduler polynomial_decay \
  --warmup-updates 10 --total-num-update 120 --max-update 120
