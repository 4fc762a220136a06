#!/usr/bin/env python
"""Write a recipe's RESULTS.md from the CSVs that run_grid.py left beside its grid.yaml.

    python scripts/write_results.py scripts/recipes/multi30k.de-en.grid

Run it again whenever the CSVs grow: what is not measured yet is said to be so.
"""

import argparse
import os
import sys
from pathlib import Path

from experiments.findings import answer_findings
from experiments.grid import GridError
from experiments.measurements import Measurements
from experiments.tables import adaptive_table, exits_table, trainings_table

TEMPLATE = """# Results: {title}

Written by `python scripts/write_results.py {recipe}` from `trainings.csv` and `results.csv`, which
`python scripts/run_grid.py {recipe} --data DATA_BIN --out OUT` fills. {done} of {total} trainings are there.

{description}

BLEU is tokenised, as the paper reports it; `results.csv` has sacreBLEU beside it, with its signature. One seed: differences of
a few tenths mean nothing.

## Which of the paper's findings come out

{findings}

## Training regimes (Table 1), validation BLEU

{regimes_valid}

## The same, test BLEU

{regimes_test}

## Weights of the exits (Table 2), validation BLEU

`aligned` is w_n = 1.

{weights}

## Gradient scaling (Table 3), validation BLEU

{scaling}

## Choosing the exit

"Over fixed exits" is the BLEU above the aligned model's fixed exits, interpolated at the same average exit. FLOPs follow
appendix B. The oracle's average exit and how often the classifier agrees with it are those of validation data.

{adaptive}

## What was trained

{trainings}
"""


def write(recipe: Path) -> str:
    """The text of RESULTS.md.

    Raises:
        GridError, FileNotFoundError: no readable grid.
    """
    measurements = Measurements(recipe)
    regimes = measurements.measured("regimes")
    aligned = [training for training in regimes if training.name == "aligned"]

    def section(table: str) -> str:
        trainings = measurements.measured(table)
        return exits_table(measurements, [*aligned, *trainings], "valid", baselines=False) if trainings else "Not measured yet."

    return TEMPLATE.format(
        title=recipe.resolve().name.removesuffix(".grid"),
        recipe=f"scripts/recipes/{recipe.resolve().name}",
        description=measurements.grid.description,
        done=len(measurements.trainings),
        total=len(measurements.grid.trainings),
        findings=answer_findings(measurements),
        regimes_valid=exits_table(measurements, regimes, "valid", baselines=True),
        regimes_test=exits_table(measurements, regimes, "test", baselines=True),
        weights=section("weights"),
        scaling=section("scaling"),
        adaptive=adaptive_table(measurements, measurements.measured("halting") + measurements.measured("kernel")),
        trainings=trainings_table(measurements),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, help="folder with grid.yaml and the CSVs")
    arguments = parser.parse_args()
    try:
        text = write(arguments.recipe)
    except (GridError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
    out = arguments.recipe / "RESULTS.md"
    partial = out.with_name(out.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, out)
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
