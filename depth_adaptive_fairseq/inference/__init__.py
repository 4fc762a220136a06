"""The fast way to run a model: what runs it, with packed weights, in a lean beam search."""
