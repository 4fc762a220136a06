"""Deciding where tokens, or samples, leave a stack of blocks: policies, the loop that follows them, what they cost."""
