#!/usr/bin/env bash
# The whole job on generated sentences, within minutes on a CPU: prepare, train, translate, compare exit policies.
#
#   bash scripts/quickstart.sh [OUT]      OUT: where results go, `outputs/quickstart` by default
#
# Run it again at any time: what is done is not done again. `rm -r outputs/quickstart` starts over.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bash "$root/scripts/setup.sh"
# shellcheck disable=SC1091  the environment is made by setup.sh
source "$root/.venv/bin/activate"
out=${1:-$root/outputs/quickstart}
mkdir -p "$out"
data=$out/data-bin

say() { printf '\n== %s\n' "$*"; }

say "1. Generate and binarise a German-English corpus of dates, times, numbers, prices and lists"
depth-adaptive prepare phrases.de-en --out "$data"

# train FOLDER OPTION...: train into $out/FOLDER, once, showing the essence of fairseq's log
train() {
  local folder=$1
  shift
  if [[ -f $out/$folder/trained ]]; then return; fi
  fairseq-train "$data" --user-dir depth_adaptive_fairseq --task depth_adaptive_translation \
    --arch depth_adaptive_transformer_tiny --encoder-normalize-before --decoder-normalize-before --dropout 0.0 \
    --criterion depth_adaptive_cross_entropy --label-smoothing 0.1 \
    --optimizer adam --adam-betas '(0.9, 0.98)' --clip-norm 3 --lr-scheduler inverse_sqrt \
    --max-tokens 2048 --seed 1 --no-epoch-checkpoints --save-dir "$out/$folder" \
    --log-format simple --log-interval 50 "$@" 2>&1 | tee "$out/$folder.log" \
    | grep --line-buffered -E 'train_inner|valid on|rror' | sed -u -E 's/^.*\| (epoch)/\1/; s/^(.{160}).*/\1/'
  if [[ ! -f $out/$folder/checkpoint_best.pt ]]; then
    tail -n 3 "$out/$folder.log"
    exit 1
  fi
  touch "$out/$folder/trained"
}

say "2. Train a decoder with 6 exits (aligned training)"
train aligned --lr 6e-3 --warmup-updates 150 --max-epoch "${EPOCHS:-4}"

say "3. Go on with a halting classifier, which learns where each token may leave"
train geometric --finetune-from-model "$out/aligned/checkpoint_best.pt" --halting geometric \
  --exit-loss-weight 1 --oracle likelihood --oracle-penalty 0.05 --lr 1e-3 --warmup-updates 50 --max-epoch 1

say "4. Translate the test set, each token leaving where the classifier says"
fairseq-generate "$data" --user-dir depth_adaptive_fairseq --task depth_adaptive_translation \
  --path "$out/geometric/checkpoint_best.pt" --beam 5 --max-tokens 4096 --remove-bpe sentencepiece \
  --exit-policy geometric --exit-thresholds 0.5 --exit-log "$out/exits.jsonl" > "$out/generate.log" 2>&1 \
  || { tail -n 3 "$out/generate.log"; exit 1; }
grep -E 'average exit|^Generate' "$out/generate.log" | sed -E 's/^.*\| (exit policy)/\1/'

say "5. Compare exit policies"
depth-adaptive evaluate "$data" --path "$out/geometric/checkpoint_best.pt" --gen-subset test --beam 5 \
  --results "$out/results.csv" \
  --policies full fixed:{1..5} uniform confidence:{0.5,0.7} geometric:{0.3,0.5,0.7}

say "6. Look at it"
depth-adaptive plot "$out/results.csv" --out "$out/tradeoff.png"
depth-adaptive view "$out/exits.jsonl" --data "$data" --out "$out/exits.html"
