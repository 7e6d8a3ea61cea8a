"""Owns the encoder of the comparison as the ONNX files that ONNX Runtime may choose from.

Refuses to know who is faster. Bound: one set of weights; no mask, as all texts of a batch are of
one length.
"""

from pathlib import Path

import numpy
from folder import EPSILON, HEADS, LAYERS, WIDTH, hugging_face, random_weights
from graph import Nodes, floats
from onnx import TensorProto, helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.optimizer import optimize_model


class Exported:
    """The graph of the encoder, as PyTorch exports it."""

    def __init__(self, weights: dict[str, numpy.ndarray]):
        self.weights, self.graph = weights, Nodes()

    def normal(self, value: str, name: str) -> str:
        scale, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return self.graph.add("LayerNormalization", value, scale, bias, axis=-1, epsilon=EPSILON)

    def linear(self, value: str, name: str) -> str:
        product = self.graph.add("MatMul", value, self.weights[f"{name}.weight"].T.copy())
        return self.graph.add("Add", product, self.weights[f"{name}.bias"])

    def attention(self, value: str, at: str) -> str:
        graph, depth = self.graph, WIDTH // HEADS
        names = [f"{at}.attention.self.{part}" for part in ("query", "key", "value")]
        shape = numpy.array([0, 0, HEADS, depth])
        query, key, content = (graph.add("Reshape", self.linear(value, n), shape) for n in names)
        query = graph.add("Transpose", query, perm=[0, 2, 1, 3])
        key = graph.add("Transpose", key, perm=[0, 2, 3, 1])
        content = graph.add("Transpose", content, perm=[0, 2, 1, 3])
        scores = graph.add("MatMul", query, key)
        scores = graph.add("Div", scores, numpy.array(depth ** 0.5, numpy.float32))
        mixed = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), content)
        mixed = graph.add("Transpose", mixed, perm=[0, 2, 1, 3])
        return graph.add("Reshape", mixed, numpy.array([0, 0, WIDTH]))

    def activation(self, inner: str) -> str:
        graph = self.graph
        half = graph.add("Erf", graph.add("Div", inner, numpy.array(2 ** 0.5, numpy.float32)))
        half = graph.add("Add", half, numpy.array(1, numpy.float32))
        return graph.add("Mul", graph.add("Mul", inner, half), numpy.array(0.5, numpy.float32))

    def save(self, path: Path) -> None:
        graph, weights = self.graph, self.weights
        words = graph.add("Gather", weights["embeddings.word_embeddings.weight"], "tokens")
        length = graph.add("Shape", "tokens", start=1, end=2)
        places = graph.add("Slice", weights["embeddings.position_embeddings.weight"],
                           numpy.array([0]), length, numpy.array([0]))
        types = weights["embeddings.token_type_embeddings.weight"][0]
        value = graph.add("Add", graph.add("Add", words, places), types)
        value = self.normal(value, "embeddings.LayerNorm")
        for layer in range(LAYERS):
            at = f"encoder.layer.{layer}"
            mixed = self.linear(self.attention(value, at), f"{at}.attention.output.dense")
            value = graph.add("Add", mixed, value)
            value = self.normal(value, f"{at}.attention.output.LayerNorm")
            inner = self.activation(self.linear(value, f"{at}.intermediate.dense"))
            value = graph.add("Add", self.linear(inner, f"{at}.output.dense"), value)
            value = self.normal(value, f"{at}.output.LayerNorm")
        graph.add("ReduceMean", value, output="y", axes=[1], keepdims=0)
        tokens = helper.make_tensor_value_info("tokens", TensorProto.INT64, ["n", "s"])
        graph.save(path, [tokens], [floats("y", "n", WIDTH)])


def encoder(folder: Path) -> None:
    """Writes every form of the encoder."""
    weights = random_weights()
    hugging_face(folder / "minilm", weights)
    plain, fused = folder / "minilm-plain.onnx", folder / "minilm-fused.onnx"
    Exported(weights).save(plain)
    model = optimize_model(str(plain), "bert", num_heads=HEADS, hidden_size=WIDTH)
    counts = model.get_fused_operator_statistics()
    if (counts["Attention"], counts["SkipLayerNormalization"]) != (LAYERS, 2 * LAYERS):
        raise SystemExit(f"ONNX Runtime's optimiser did not fuse the encoder: {counts}")
    model.save_model_to_file(str(fused))
    for path in (plain, fused):
        for form, is_per_channel in (("tensor", False), ("channel", True)):
            quantize_dynamic(path, path.with_name(f"{path.stem}-int8-{form}.onnx"),
                             per_channel=is_per_channel, reduce_range=False,
                             weight_type=QuantType.QInt8,
                             extra_options={"DefaultTensorType": TensorProto.FLOAT})
