"""The name of a data set is run by a shell.

Concerns: fairseq 0.12.2, whose data sets in FASTA format (``--dataset-impl fasta``) put their path into shell commands as it
is. A path with a space fails; one with ``$(...)`` in it, from a checkpoint's configuration, say, runs a command.
No longer needed when: ``grep -r shell=True`` finds nothing in the installed ``fairseq``.
"""

import functools
import shlex

MODULES = ("fairseq.data.fasta_dataset",)


def after(module):
    original = module.FastaDataset._build_index

    @functools.wraps(original)
    def build_index(self, path):
        return original(self, shlex.quote(str(path)))  # ".fasta", which is added to it, needs no quotes

    module.FastaDataset._build_index = build_index
