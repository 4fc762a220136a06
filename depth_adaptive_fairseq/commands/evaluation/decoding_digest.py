"""What else decides translations, beside the model, the subset and the exit policy."""

import hashlib
import json
from dataclasses import fields

from omegaconf import OmegaConf

from depth_adaptive_fairseq.tasks.depth_adaptive_translation import DepthAdaptiveTranslationConfig

# The first is what is decoded, the others have columns of their own, or decide nothing.
_ELSEWHERE = ("data", "source_lang", "target_lang", "exit_policy", "exit_log")


def decoding_digest(cfg) -> str:
    """A digest of fairseq's generation options, how subwords are joined, and what else of *cfg* changes translations."""
    generation = OmegaConf.to_container(cfg.generation, resolve=True, enum_to_str=True)
    decisive = [generation, cfg.common_eval.post_process, bool(cfg.common.fp16)]
    others = _others(cfg)
    if others:  # without any, the digest is that of earlier versions, whose files of results stay valid
        decisive.append(others)
    return hashlib.sha256(json.dumps(decisive, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _others(cfg) -> dict:
    others = {
        "model_overrides": cfg.common_eval.model_overrides.strip() not in ("", "{}") and cfg.common_eval.model_overrides,
        "skipping": cfg.dataset.skip_invalid_size_inputs_valid_test,
        "bf16": cfg.common.bf16,
        "seed": cfg.generation.sampling and cfg.common.seed != 1 and cfg.common.seed,
    }
    for option in fields(DepthAdaptiveTranslationConfig):
        # Those of --task translation are fewer. Interpolations, as of --train-subset, are not the task's.
        if option.name.startswith(("_", "eval_")) or option.name in _ELSEWHERE or str(option.default).startswith("${"):
            continue
        value = cfg.task.get(option.name, option.default)
        if value != option.default:
            others[option.name] = str(value)
    return {name: value for name, value in others.items() if value}
