"""Files whose name never stands for half of one: see ``depth_adaptive_fairseq/compat/whole_files.py``."""

import depth_adaptive_fairseq_startup

# Without the package, whose import takes seconds.
depth_adaptive_fairseq_startup._load_compat()

from depth_adaptive_fairseq.compat.whole_files import is_special, new_file, refuse_special  # noqa: E402,F401
