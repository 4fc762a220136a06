"""A recipe's RESULTS.md, from the CSVs that ``depth-adaptive grid`` left beside its grid.yaml: ``grid RECIPE --results``."""

from pathlib import Path

from .findings import answer_findings
from .measurements import ALIGNED, CONTROL, Measurements
from .tables import adaptive_table, exits_table, trainings_table
from .verdicts import EXIT_MARGIN, NOISE_MARGIN

SUBSETS = (("valid", "Validation BLEU"), ("test", "Test BLEU"))
TEMPLATE = """# Results: {title}

Written by `depth-adaptive grid {recipe} --results` from `trainings.csv` and `results.csv`, which
`depth-adaptive grid {recipe} --data DATA_BIN --out OUT` fills. {done} of {total} trainings are there.

{description}

BLEU is tokenised, as the paper reports it; `results.csv` has sacreBLEU beside it, with its signature. One seed: differences of
a few tenths mean nothing.

## Which of the paper's findings come out

A verdict needs all that the finding compares; otherwise it is "not measured". Differences below {noise:g} BLEU are "within
noise". Methods are compared where their average exits overlap; one whose average exits differ by less than {spread:g} cannot be
judged. BLEU is the mean over validation and test where both were decoded.

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

"Over fixed exits" is the BLEU above the fixed exits of {reference},
interpolated at the same average exit; for confidence, of the aligned model, whose weights it decodes with. FLOPs follow
appendix B. The oracle's average exit and how often the classifier agrees with it are those of validation data.

{adaptive}

## The control: what the updates of phase 2 do by themselves

Phase 2 goes on training for a while. `{control}` did the same, with aligned exits only.

{control_table}

## What was trained

{trainings}
"""


def results_page(recipe: Path) -> str:
    """The text of RESULTS.md.

    Raises:
        GridError, FileNotFoundError: no readable grid.
    """
    measurements = Measurements(recipe)
    regimes = measurements.measured("regimes")
    aligned = [training for training in regimes if training.name == ALIGNED]
    reference = {
        CONTROL: f"`{CONTROL}`, the aligned model after as many further updates",
        ALIGNED: "the aligned model, which has fewer updates (the control is not measured yet)",
    }[measurements.reference()]

    def section(table: str) -> str:
        trainings = measurements.measured(table)
        return exits_table(measurements, [*aligned, *trainings], "valid", baselines=False) if trainings else "Not measured yet."

    def control_table() -> str:
        control = measurements.measured("halting-control")
        if not control:
            return "Not measured yet."
        tables = {name: exits_table(measurements, [*aligned, *control], subset, baselines=False) for subset, name in SUBSETS}
        return "\n\n".join(f"{name}:\n\n{table}" for name, table in tables.items())

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
        noise=NOISE_MARGIN,
        spread=EXIT_MARGIN,
        reference=reference,
        control=CONTROL,
        control_table=control_table(),
    )
