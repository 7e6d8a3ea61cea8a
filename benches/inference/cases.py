"""Owns the cases of the comparison: models, sizes, forms that each candidate may choose from, how
far answers may differ, and how many operations a call needs at least.

Refuses to know how they are asked and judged. Bound: the lists below.
"""

from pathlib import Path

VOCABULARY, WIDTH, INNER, LAYERS = 1000, 384, 1536, 6


def linear_operations(sizes: list[int], rows: int) -> int:
    """A product and a sum for each weight and row."""
    return sum(2 * rows * a * b for a, b in zip(sizes, sizes[1:]))


class Case:
    """One model at one size."""

    def __init__(self, name: str, model: str, ours: dict, onnx: list[dict], torch: list[dict],
                 is_served: bool = False, f32: int = 0, int8: int = 0, tolerance: float = 1e-5):
        self.name, self.model, self.is_served = name, model, is_served
        self.questions = {"ours": [ours], "onnx": onnx, "torch": torch}
        self.operations = {"f32": f32, "int8": int8}
        self.tolerance = tolerance

    @property
    def torch_name(self) -> str:
        return "scikit-learn" if "pickle" in self.questions["torch"][0] else "PyTorch"


def dense(folder: Path) -> list[Case]:
    cases = []
    for sizes in ([64, 128, 64, 10], [784, 200, 200, 10]):
        name = "dense " + "-".join(map(str, sizes))
        path = folder / name.replace(" ", "-")
        for batch in (1, 8, 32):
            asked = {"rows": f"{path}.rows", "columns": sizes[0], "batch": batch,
                     "precision": "f32", "form": "f32"}
            cases.append(Case(
                f"{name}, batch {batch}", name,
                asked | {"onnx": f"{path}.onnx"}, [asked | {"onnx": f"{path}.onnx"}],
                [asked | {"weights": f"{path}.weights", "form": "eager"}], batch == 1,
                f32=linear_operations(sizes, batch)))
    return cases


def trees(folder: Path) -> list[Case]:
    cases = []
    for name, file in (("forest of 100 trees", "forest"), ("boosted, depth 6", "boosted")):
        for batch in (1, 256):
            asked = {"rows": f"{folder / file}.rows", "columns": 30, "batch": batch,
                     "precision": "f32", "form": "f32", "onnx": f"{folder / file}.onnx"}
            pickle = asked | {"pickle": f"{folder / file}.pickle", "form": "predict_proba"}
            cases.append(Case(f"{name}, batch {batch}", name, asked, [asked], [pickle],
                              batch == 1))
    return cases


def encoders(folder: Path, is_compiled: bool) -> list[Case]:
    cases = []
    for precision in ("f32", "int8"):
        for tokens, batch in ((16, 1), (16, 8), (128, 1), (128, 8)):
            asked = {"tokens": tokens, "batch": batch, "vocabulary": VOCABULARY,
                     "precision": precision}
            linears = linear_operations([WIDTH] * 5 + [INNER, WIDTH], tokens * batch) * LAYERS
            mixing = 2 * 2 * batch * tokens * tokens * WIDTH * LAYERS
            if precision == "f32":
                files, f32, int8 = ["plain", "fused"], linears + mixing, 0
                forms = ["eager", "compiled"] if is_compiled else ["eager"]
            else:
                files = [f"{form}-int8-{by}" for form in ("plain", "fused")
                         for by in ("tensor", "channel")]
                forms, f32, int8 = ["eager"], mixing, linears
            onnx = [asked | {"onnx": str(folder / f"minilm-{file}.onnx"), "form": file}
                    for file in files]
            torch = [asked | {"folder": str(folder / "minilm"), "form": form} for form in forms]
            ours = torch[0] | {"form": precision}
            cases.append(Case(
                f"MiniLM-L6 {precision}, {batch} x {tokens} tokens", f"MiniLM-L6 {precision}",
                ours, onnx, torch, (tokens, batch) == (16, 1), f32, int8, 1e-4))
    return cases


def models(folder: Path, is_compiled: bool) -> list[Case]:
    """Every case."""
    return dense(folder) + trees(folder) + encoders(folder, is_compiled)


def functions() -> list[dict]:
    """Single functions, by rows and columns."""
    sizes = {"scale": [(1, 30), (1_000, 30), (10_000, 784)],
             "standardise": [(1_000, 30), (10_000, 784)],
             "cosine": [(128, 384), (1_000, 384)]}
    return [{"function": function, "batch": rows, "columns": columns}
            for function, all_sizes in sizes.items() for rows, columns in all_sizes]
