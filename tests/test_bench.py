"""The bench runs to its end and writes the form that its users read; what it measures is a matter
of a free machine.
"""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from scripts import bench_sides

ROOT = Path(__file__).parent.parent


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script on a model of two thin layers."""
    spec = importlib.util.spec_from_file_location("bench", ROOT / "scripts" / "bench.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "bench", module)
    spec.loader.exec_module(module)
    thin = {"hidden_size": 36, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": 10000}
    monkeypatch.setattr(bench_sides, "SHAPE", {**bench_sides.SHAPE, **thin})
    return module


@pytest.mark.slow
def test_the_quick_bench_alternates_both_sides_and_writes_its_figures(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sys, "argv", ["bench.py", "--quick", "--json", str(tmp_path / "bench.json")]
    )
    bench.main()
    found = json.loads((tmp_path / "bench.json").read_text())
    assert found["schema"] == 1
    assert found["matrix_gflops"] > 0
    assert found["growth"] == []
    assert 0 < found["start"] < 600
    cells = [found["workloads"]["few_shot"]["live"][live] for live in ("1.0", "0.45")]
    cells.append(found["workloads"]["long"]["live"]["1.0"])
    cells.append(found["workloads"]["dialogue"]["live"]["1.0"])
    for cell in cells:
        assert cell["path"] == "group"
        assert cell["pairs"] >= 1
        for side in ("stock", "ours"):
            assert cell[side]["total"] > 0
            assert set(cell[side]) - {"scoring"} == {"generation", "update", "total"}
        assert cell["ratio"]["low"] <= cell["ratio"]["total"] <= cell["ratio"]["high"]
        assert set(cell["peak_memory"]) == {"stock", "ours"}
        if Path("/proc/self/clear_refs").exists():
            assert min(cell["peak_memory"].values()) > 100  # MB: torch alone takes more
