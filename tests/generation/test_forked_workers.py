"""A process forked from one that has translated with several threads translates, too: a web server's worker, say."""

import json
import sys
from pathlib import Path

import pytest

from tests.compat.processes import run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems' OpenMP libraries are prepared for forks")


@pytest.fixture(scope="module")
def found():
    threads = {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"}
    done = run("python", "-m", "tests.generation.forked_workers", cwd=Path(__file__).parents[2], **threads)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("kernels", ["native", "torch"])
def test_forked_workers_translate(found, kernels):
    by_process = found[kernels]
    assert by_process.pop("nothing is done") is None, "the threads that this is about were not started"
    expected = by_process["parent"]
    for name, translations in by_process.items():
        one_thread = name in ("threads cannot be ended", "in_a_data_loader")  # the latter by PyTorch's own wish
        assert translations["threads"] == (1 if one_thread else 2), name
        assert translations["tokens"] == expected["tokens"], name
        assert translations["exits"] == expected["exits"], name
        assert translations["scores"] == pytest.approx(expected["scores"], abs=1e-5), name
