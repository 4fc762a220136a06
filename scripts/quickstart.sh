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
checkpoint=$out/aligned/checkpoint_best.pt

say() { printf '\n== %s\n' "$*"; }

say "1. Generate and binarise a German-English corpus of dates, times, numbers, prices and lists"
python "$root/scripts/prepare_data.py" phrases.de-en --out "$data"

say "2. Train a decoder with 6 exits (aligned training)"
if [[ ! -f $out/aligned/trained ]]; then
  fairseq-train "$data" --user-dir depth_adaptive_fairseq --task depth_adaptive_translation \
    --arch depth_adaptive_transformer_tiny --criterion depth_adaptive_cross_entropy --label-smoothing 0.1 \
    --optimizer adam --adam-betas '(0.9, 0.98)' --clip-norm 3 \
    --encoder-normalize-before --decoder-normalize-before --dropout 0.0 \
    --lr 6e-3 --lr-scheduler inverse_sqrt --warmup-updates 150 \
    --max-tokens 2048 --max-epoch "${EPOCHS:-6}" --seed 1 --no-epoch-checkpoints --save-dir "$out/aligned" \
    --log-format simple --log-interval 50 2>&1 | tee "$out/train.log" \
    | grep --line-buffered -E 'train_inner|valid on|rror' | sed -u -E 's/^.*\| (epoch)/\1/' | cut -c1-150
  touch "$out/aligned/trained"
fi

say "3. Translate the test set, each token leaving where the model is sure enough"
fairseq-generate "$data" --user-dir depth_adaptive_fairseq --task depth_adaptive_translation --path "$checkpoint" \
  --beam 5 --max-tokens 4096 --remove-bpe sentencepiece \
  --exit-policy confidence --exit-thresholds 0.9 --exit-log "$out/exits.jsonl" > "$out/generate.log"
grep -E 'average exit|^Generate' "$out/generate.log" | sed -E 's/^.*\| (exit policy)/\1/'

say "4. Compare exit policies"
python "$root/scripts/evaluate_policies.py" "$data" --path "$checkpoint" --gen-subset test --beam 5 \
  --results "$out/results.csv" \
  --policies full fixed:{1..5} uniform confidence:{0.5,0.7,0.9,0.97}

say "5. Look at it"
python "$root/scripts/plot_tradeoff.py" "$out/results.csv" --out "$out/tradeoff.png"
python "$root/scripts/view_exits.py" "$out/exits.jsonl" --data "$data" --out "$out/exits.html"
