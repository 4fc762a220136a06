"""``hub.translate([...], skip_invalid_size_inputs=True)`` returns too few results, each at a wrong place.

Concerns: fairseq 0.12.2. Here there are as many results as inputs, in their order: of an input that is too long, no
hypotheses (``generate``) and an empty translation (``translate``, ``sample``), with a warning that names the inputs. And a single
input has all the options that several have.
No longer needed when: such a call returns a result for each input.
"""

import functools
import logging

from .user_errors import user_error

MODULES = ("fairseq.hub_utils", "fairseq.models.bart.hub_interface")

logger = logging.getLogger(__name__)


class _Inputs(list):
    """The inputs of one call; those that were skipped leave the list when the last batch has been made.

    Attributes:
        kept: the places of the others, once that has happened.
    """

    kept = None

    def keep(self, places):
        self.kept = sorted(places)
        self[:] = [self[place] for place in self.kept]


def after(module):
    if module.__name__ == "fairseq.hub_utils":
        _mend_batches(module.GeneratorHubInterface)
        _mend_generate(module.GeneratorHubInterface, module.torch)
        _mend_texts(module.GeneratorHubInterface)
    else:
        _mend_generate(module.BARTHubInterface, module.torch)  # which has a loop of its own


def _mend_batches(hub):
    original = hub._build_batches

    @functools.wraps(original)
    def _build_batches(self, tokens, skip_invalid_size_inputs):
        batches = original(self, tokens, skip_invalid_size_inputs)
        return _observed(batches, tokens) if isinstance(tokens, _Inputs) else batches

    hub._build_batches = _build_batches


def _observed(batches, inputs):
    seen = []
    for batch in batches:
        seen += batch["id"].tolist()
        yield batch
    inputs.keep(seen)


def _mend_generate(hub, torch):
    original = hub.generate

    @functools.wraps(original)
    def generate(self, tokenized_sentences, *arguments, **options):
        if torch.is_tensor(tokenized_sentences) and tokenized_sentences.dim() == 1:
            return generate(self, tokenized_sentences.unsqueeze(0), *arguments, **options)[0]
        inputs = _Inputs(tokenized_sentences)
        # fairseq prints and sorts what is left of the inputs.
        found = original(self, inputs, *arguments, **options)
        results = [[] for _ in tokenized_sentences]
        for place, hypotheses in zip(inputs.kept, found):
            results[place] = hypotheses
        skipped = sorted(set(range(len(results))).difference(inputs.kept))
        if skipped:
            logger.warning(
                f"{len(skipped)} of {len(results)} inputs are longer than the model takes, {self.max_positions} tokens, and "
                f"have no translation: number {', '.join(map(str, skipped))}, counted from 0"
            )
        return results

    hub.generate = generate


def _mend_texts(hub):
    score = hub.score

    def sample(self, sentences, beam=1, verbose=False, **options):
        if isinstance(sentences, str):
            return self.sample([sentences], beam=beam, verbose=verbose, **options)[0]
        found = self.generate([self.encode(sentence) for sentence in sentences], beam, verbose, **options)
        return [self.decode(hypotheses[0]["tokens"]) if hypotheses else "" for hypotheses in found]

    @functools.wraps(score)
    def scored(self, *arguments, **options):
        if options.get("skip_invalid_size_inputs"):
            raise user_error(
                "skip_invalid_size_inputs was given to score, which has nothing to return for such an input: leave it out, and "
                "score no input that is longer than the model takes"
            )
        return score(self, *arguments, **options)

    hub.sample, hub.score = functools.wraps(hub.sample)(sample), scored
