"""Byte-pair encoding with sentencepiece: one model for both languages."""

import io
from itertools import chain
from pathlib import Path

import sentencepiece
from tqdm import tqdm

from .errors import PreparationError
from .raw_text import read_lines, write_lines

MODEL = "sentencepiece.bpe.model"
LONGEST_LINE = 1 << 20  # bytes; the default leaves longer lines out without a word
CHUNK = 1000


def learn(folder: Path, training_text: Path, languages: tuple[str, str], vocabulary_size: int) -> dict:
    """Learns the model on the tokenised training text and writes it; returns its size."""
    sentences = chain.from_iterable(read_lines(training_text / f"train.{language}") for language in languages)
    model = io.BytesIO()
    try:
        # text and model pass through memory because file names would become part of the model
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=sentences,
            model_writer=model,
            model_type="bpe",
            vocab_size=vocabulary_size,
            character_coverage=1.0,
            normalization_rule_name="identity",
            max_sentence_length=LONGEST_LINE,
            shuffle_input_sentence=False,
            num_threads=1,
            minloglevel=2,
        )
    except (RuntimeError, ValueError) as error:
        raise PreparationError(
            f"sentencepiece cannot learn bpe.vocabulary_size: {vocabulary_size} from this training text: {error}"
        ) from None
    (folder / MODEL).write_bytes(model.getvalue())
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return {"vocabulary": processor.get_piece_size()}


def apply(folder: Path, model: Path, texts: dict[str, Path]) -> dict:
    """Writes each of `texts` (file name -> tokenised file) as pieces; returns the number of pieces by file name."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model / MODEL))
    pieces = {}
    for name, path in texts.items():
        sentences = read_lines(path)
        encoded = []
        for start in tqdm(range(0, len(sentences), CHUNK), desc=f"apply BPE {name}", disable=None, leave=False):
            encoded += processor.encode(sentences[start : start + CHUNK], out_type=str, num_threads=1)
        write_lines(folder / name, (" ".join(sentence) for sentence in encoded))
        pieces[name] = sum(map(len, encoded))
    return pieces
