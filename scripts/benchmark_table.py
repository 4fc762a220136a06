#!/usr/bin/env python
"""Print what benchmark_decoding.py measured earlier as a Markdown table.

    python scripts/benchmark_table.py scripts/recipes/multi30k.de-en.speed/benchmark.json
"""

import argparse
import json
import sys
from pathlib import Path

from benchmarking.report import as_table, price_of_deciding


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measurements", type=Path, help="JSON that benchmark_decoding.py --out wrote")
    arguments = parser.parse_args()
    try:
        rows = json.loads(arguments.measurements.read_text(encoding="utf-8"))["rows"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"error: {arguments.measurements} is not a file of benchmark_decoding.py: {error}")
    print(as_table(rows))
    print(price_of_deciding(rows))


if __name__ == "__main__":
    main()
