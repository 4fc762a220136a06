#!/usr/bin/env bash
# Train what benchmark.sh decodes: train.sh DATA_BIN CHECKPOINTS
#
# The paper's IWSLT sizes on Multi30k De-En (depth-adaptive prepare multi30k.de-en), in bfloat16, which processors with AMX
# multiply several times as fast as float32: aligned, then with a geometric-like halting classifier, while the rate goes on
# falling. A run that was interrupted goes on from its last checkpoint.
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
    --criterion depth_adaptive_cross_entropy --label-smoothing 0.1 --exit-weights inverse --dropout 0.1 --bf16 \
    --optimizer adam --adam-betas '(0.9, 0.98)' --clip-norm 3 --max-tokens 3072 --seed 1 --lr-scheduler polynomial_decay \
    --no-epoch-checkpoints --save-interval-updates 100 --keep-interval-updates 1 --validate-interval-updates 300 \
    --log-format simple --log-interval 50 --save-dir "$folder" "$@"
  touch "$folder/trained"
}

phase aligned --lr 1.5e-3 --warmup-updates 300 --total-num-update 1300 --end-learning-rate 4e-4 --max-update 1200
phase geometric --finetune-from-model "$checkpoints/aligned/checkpoint_last.pt" --halting geometric --exit-loss-weight 1 \
  --oracle likelihood --oracle-penalty "${LAMBDA:-0.05}" --lr 4e-4 --warmup-updates 10 --total-num-update 450 --max-update 450
