#!/usr/bin/env bash
# Train on Multi30k De-En: train.sh DATA_BIN CHECKPOINTS [adaptive|stock]
#
# adaptive: a decoder with 6 exits, aligned training. stock: fairseq's transformer of the same sizes, trained equally long.
# A run that was interrupted goes on from its last checkpoint.
set -euo pipefail

if (( $# < 2 || $# > 3 )); then
  echo "usage: $0 DATA_BIN CHECKPOINTS [adaptive|stock]" >&2
  exit 2
fi
data_bin=$1 checkpoints=$2 kind=${3:-adaptive}

case $kind in
  adaptive)
    model=(--task depth_adaptive_translation --arch depth_adaptive_transformer --criterion depth_adaptive_cross_entropy) ;;
  stock)
    model=(--task translation --arch transformer --criterion label_smoothed_cross_entropy) ;;
  *)
    echo "$0: '$kind' was given; choose adaptive or stock" >&2
    exit 2 ;;
esac

# Small enough for about an hour on one CPU core. So few updates train pre-norm blocks better: with post-norm ones, deep
# exits stay behind shallow ones at first.
exec fairseq-train "$data_bin" --user-dir depth_adaptive_fairseq "${model[@]}" --save-dir "$checkpoints" \
  --encoder-layers 6 --encoder-embed-dim 128 --encoder-ffn-embed-dim 256 --encoder-attention-heads 4 \
  --decoder-layers 6 --decoder-embed-dim 128 --decoder-ffn-embed-dim 256 --decoder-attention-heads 4 \
  --encoder-normalize-before --decoder-normalize-before --dropout 0.1 --label-smoothing 0.1 \
  --optimizer adam --adam-betas '(0.9, 0.98)' --clip-norm 3 \
  --lr 2e-3 --lr-scheduler inverse_sqrt --warmup-updates 600 \
  --max-tokens 1536 --max-update "${MAX_UPDATE:-2500}" --seed 1 \
  --no-epoch-checkpoints --save-interval-updates 250 --keep-interval-updates 1 --validate-interval-updates 250 \
  --log-format simple --log-interval 50
