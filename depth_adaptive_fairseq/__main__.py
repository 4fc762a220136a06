"""``python -m depth_adaptive_fairseq VERB``."""

import sys

from depth_adaptive_fairseq.commands import main

if __name__ == "__main__":
    sys.exit(main())
