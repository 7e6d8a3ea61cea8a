"""Owns the models of the comparison: each made once, the same weights for every candidate, and the
rows that they are asked.

Refuses to know how a candidate runs them. Bound: fixed seeds; everything below one folder. Called
by inference.sh inside the environment that it installs.
"""

import pickle
import sys
from pathlib import Path

import numpy
import onnx
from encoder import encoder
from graph import Nodes, floats
from safetensors.numpy import save_file
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer, make_classification
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier

ROWS = 2048
"""Of each model, so that trees cannot be learnt by heart by the processor."""
OPSET_ML = 3


def dense(folder: Path, name: str, sizes: list[int]) -> None:
    """Fully connected, ReLU between, softmax at the end."""
    random = numpy.random.default_rng(sizes[0])
    graph, last, weights = Nodes(), "x", {}
    for index, (inputs, outputs) in enumerate(zip(sizes, sizes[1:])):
        bound = (6.0 / inputs) ** 0.5
        weight = random.uniform(-bound, bound, (outputs, inputs)).astype(numpy.float32)
        bias = random.uniform(-0.1, 0.1, outputs).astype(numpy.float32)
        weights[f"layers.{index}.weight"], weights[f"layers.{index}.bias"] = weight, bias
        last = graph.add("Gemm", last, weight, bias, transB=1)
        if index + 2 < len(sizes):
            last = graph.add("Relu", last)
    graph.add("Softmax", last, output="y", axis=-1)
    graph.save(folder / f"{name}.onnx", [floats("x", "n", sizes[0])], [floats("y", "n", sizes[-1])])
    save_file(weights, folder / f"{name}.weights")
    random.normal(size=(ROWS, sizes[0])).astype("<f4").tofile(folder / f"{name}.rows")


def trees(folder: Path) -> None:
    """A forest as scikit-learn grows it by default, and boosted trees of depth 6."""
    cancer = load_breast_cancer(return_X_y=True)
    made = make_classification(4_000, 30, n_informative=12, flip_y=0.05, random_state=7)
    forest = RandomForestClassifier(100, random_state=7)
    boosted = GradientBoostingClassifier(n_estimators=100, max_depth=6, random_state=7)
    for name, data, model in (("forest", cancer, forest), ("boosted", made, boosted)):
        rows, classes = data[0].astype(numpy.float32), data[1]
        model.fit(rows, classes)
        exported = to_onnx(model, rows[:1], options={"zipmap": False},
                           target_opset={"": 17, "ai.onnx.ml": OPSET_ML})
        (folder / f"{name}.onnx").write_bytes(exported.SerializeToString())
        (folder / f"{name}.pickle").write_bytes(pickle.dumps(model))
        random = numpy.random.default_rng(7)
        asked = rows[random.integers(0, len(rows), ROWS)]
        asked = asked * random.normal(1.0, 0.05, asked.shape)
        asked.astype("<f4").tofile(folder / f"{name}.rows")


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "made").exists():
        return
    dense(folder, "dense-64-128-64-10", [64, 128, 64, 10])
    dense(folder, "dense-784-200-200-10", [784, 200, 200, 10])
    trees(folder)
    encoder(folder)
    for path in folder.glob("*.onnx"):
        onnx.checker.check_model(str(path), skip_opset_compatibility_check=True)
    (folder / "made").write_text("")


if __name__ == "__main__":
    main()
