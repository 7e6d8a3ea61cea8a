"""Owns the models of the comparison: each made once, the same weights for every candidate.

Refuses to know how a candidate runs them. Bound: fixed seeds; everything below one folder. Called
by inference.sh inside the environment that it installs.
"""

import json
import pickle
import sys
from pathlib import Path

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import save_file
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer, make_classification
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier

OPSET = 17
LAYERS, WIDTH, HEADS, INNER, VOCABULARY, POSITIONS = 6, 384, 12, 1536, 30522, 512
EPSILON = 1e-12


class Nodes:
    """Collects the nodes and constants of one ONNX graph."""

    def __init__(self) -> None:
        self.nodes, self.constants, self.count = [], [], 0

    def constant(self, values: numpy.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def add(self, operator: str, *inputs, output: str | None = None, **attributes) -> str:
        self.count += 1
        output = output or f"v{self.count}"
        names = [self.constant(i) if isinstance(i, numpy.ndarray) else i for i in inputs]
        self.nodes.append(helper.make_node(operator, names, [output], f"n{self.count}",
                                           **attributes))
        return output

    def save(self, path: Path, inputs: list, outputs: list, contrib: bool = False) -> None:
        graph = helper.make_graph(self.nodes, path.stem, inputs, outputs, self.constants)
        opsets = [helper.make_opsetid("", OPSET)]
        if contrib:
            opsets.append(helper.make_opsetid("com.microsoft", 1))
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)


def floats(name: str, *dims) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(dims))


def dense(folder: Path, name: str, sizes: list[int]) -> None:
    """Fully connected, ReLU between, softmax at the end."""
    random = numpy.random.default_rng(len(sizes) + sizes[0])
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
    inputs = random.normal(size=(32, sizes[0])).astype(numpy.float32)
    numpy.save(folder / f"{name}.npy", inputs)


def trees(folder: Path) -> None:
    """A forest as scikit-learn grows it by default and boosted trees of depth 6."""
    small = load_breast_cancer(return_X_y=True)
    large = make_classification(10_000, 30, n_informative=15, random_state=7)
    for name, data, model in (
        ("forest", small, RandomForestClassifier(100, random_state=7)),
        ("forest-deep", large, RandomForestClassifier(100, random_state=7)),
        ("boosted", large, GradientBoostingClassifier(n_estimators=100, max_depth=6,
                                                      random_state=7)),
    ):
        rows, classes = data[0].astype(numpy.float32), data[1]
        model.fit(rows, classes)
        exported = to_onnx(model, rows[:1], options={"zipmap": False}, target_opset=OPSET)
        (folder / f"{name}.onnx").write_bytes(exported.SerializeToString())
        (folder / f"{name}.pickle").write_bytes(pickle.dumps(model))
        numpy.save(folder / f"{name}.npy", rows[:256])


def encoder_weights() -> dict[str, numpy.ndarray]:
    """Random weights in the shape of MiniLM-L6, by the names that Hugging Face uses."""
    random = numpy.random.default_rng(6)

    def matrix(*shape):
        return (random.standard_normal(shape) * 0.05).astype(numpy.float32)

    weights = {
        "embeddings.word_embeddings.weight": matrix(VOCABULARY, WIDTH),
        "embeddings.position_embeddings.weight": matrix(POSITIONS, WIDTH),
        "embeddings.token_type_embeddings.weight": matrix(2, WIDTH),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}"
        for name, outputs, inputs in (
            ("attention.self.query", WIDTH, WIDTH), ("attention.self.key", WIDTH, WIDTH),
            ("attention.self.value", WIDTH, WIDTH), ("attention.output.dense", WIDTH, WIDTH),
            ("intermediate.dense", INNER, WIDTH), ("output.dense", WIDTH, INNER),
        ):
            weights[f"{at}.{name}.weight"] = matrix(outputs, inputs)
            weights[f"{at}.{name}.bias"] = matrix(outputs)
        norms += [f"{at}.attention.output.LayerNorm", f"{at}.output.LayerNorm"]
    for norm in norms:
        weights[f"{norm}.weight"] = 1 + matrix(WIDTH)
        weights[f"{norm}.bias"] = matrix(WIDTH)
    return weights


def encoder_folder(folder: Path, weights: dict[str, numpy.ndarray]) -> None:
    """The same as a Hugging Face folder, with a tokenizer of that many words."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({
        "architectures": ["BertModel"], "model_type": "bert", "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": INNER,
        "hidden_act": "gelu", "max_position_embeddings": POSITIONS, "type_vocab_size": 2,
        "vocab_size": VOCABULARY, "layer_norm_eps": EPSILON, "pad_token_id": 0,
        "position_embedding_type": "absolute",
    }))
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words += [f"w{index}" for index in range(VOCABULARY - len(words))]
    special = [{"id": index, "content": word, "single_word": False, "lstrip": False,
                "rstrip": False, "normalized": False, "special": True}
               for index, word in enumerate(words[:5])]
    token = {"SpecialToken": {"id": "[CLS]", "type_id": 0}}
    end = {"SpecialToken": {"id": "[SEP]", "type_id": 0}}
    single = [token, {"Sequence": {"id": "A", "type_id": 0}}, end]
    pair = single + [{"Sequence": {"id": "B", "type_id": 1}},
                     {"SpecialToken": {"id": "[SEP]", "type_id": 1}}]
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special,
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": single, "pair": pair,
                           "special_tokens": {
                               word: {"id": word, "ids": [at], "tokens": [word]}
                               for at, word in ((2, "[CLS]"), (3, "[SEP]"))}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100,
                  "vocab": {word: index for index, word in enumerate(words)}},
    }))
    save_file(weights, folder / "model.safetensors")


def encoder_onnx(path: Path, weights: dict[str, numpy.ndarray], fused: bool) -> None:
    """The same as ONNX, mean pooling at the end: from standard operators, or from the ones that
    ONNX Runtime's own optimiser for transformers puts in their place."""
    graph = Nodes()
    heads, depth = HEADS, WIDTH // HEADS

    def normal(value: str, residual: str | None, name: str) -> str:
        scale, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        if fused and residual:
            return graph.add("SkipLayerNormalization", value, residual, scale, bias,
                             domain="com.microsoft", epsilon=EPSILON)
        value = graph.add("Add", value, residual) if residual else value
        return graph.add("LayerNormalization", value, scale, bias, axis=-1, epsilon=EPSILON)

    def linear(value: str, name: str) -> str:
        product = graph.add("MatMul", value, weights[f"{name}.weight"].T.copy())
        return graph.add("Add", product, weights[f"{name}.bias"])

    def attention(value: str, at: str) -> str:
        names = [f"{at}.attention.self.{part}" for part in ("query", "key", "value")]
        if fused:
            weight = numpy.concatenate([weights[f"{n}.weight"].T for n in names], axis=1)
            bias = numpy.concatenate([weights[f"{n}.bias"] for n in names])
            return graph.add("Attention", value, weight.copy(), bias, domain="com.microsoft",
                             num_heads=heads)
        shape = numpy.array([0, 0, heads, depth])
        query, key, content = (graph.add("Reshape", linear(value, n), shape) for n in names)
        query = graph.add("Transpose", query, perm=[0, 2, 1, 3])
        key = graph.add("Transpose", key, perm=[0, 2, 3, 1])
        content = graph.add("Transpose", content, perm=[0, 2, 1, 3])
        scores = graph.add("MatMul", query, key)
        scores = graph.add("Mul", scores, numpy.array(depth ** -0.5, numpy.float32))
        mixed = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), content)
        mixed = graph.add("Transpose", mixed, perm=[0, 2, 1, 3])
        return graph.add("Reshape", mixed, numpy.array([0, 0, WIDTH]))

    words = graph.add("Gather", weights["embeddings.word_embeddings.weight"], "tokens")
    length = graph.add("Shape", "tokens", start=1, end=2)
    places = graph.add("Slice", weights["embeddings.position_embeddings.weight"],
                       numpy.array([0]), length, numpy.array([0]))
    types = weights["embeddings.token_type_embeddings.weight"][0]
    value = graph.add("Add", graph.add("Add", words, places), types)
    value = normal(value, None, "embeddings.LayerNorm")
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}"
        mixed = linear(attention(value, at), f"{at}.attention.output.dense")
        value = normal(mixed, value, f"{at}.attention.output.LayerNorm")
        inner = linear(value, f"{at}.intermediate.dense")
        if fused:
            inner = graph.add("Gelu", inner, domain="com.microsoft")
        else:
            # As PyTorch exports it; ONNX Runtime fuses the pattern itself.
            half = graph.add("Erf", graph.add("Div", inner, numpy.array(2 ** 0.5, numpy.float32)))
            half = graph.add("Add", half, numpy.array(1, numpy.float32))
            inner = graph.add("Mul", graph.add("Mul", inner, half), numpy.array(0.5, numpy.float32))
        value = normal(linear(inner, f"{at}.output.dense"), value, f"{at}.output.LayerNorm")
    graph.add("ReduceMean", value, output="y", axes=[1], keepdims=0)
    tokens = helper.make_tensor_value_info("tokens", TensorProto.INT64, ["n", "s"])
    graph.save(path, [tokens], [floats("y", "n", WIDTH)], contrib=fused)


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "made").exists():
        return
    dense(folder, "dense-64-128-64-10", [64, 128, 64, 10])
    dense(folder, "dense-784-200-200-10", [784, 200, 200, 10])
    trees(folder)
    weights = encoder_weights()
    encoder_folder(folder / "minilm", weights)
    for name, fused in (("minilm-plain", False), ("minilm-fused", True)):
        encoder_onnx(folder / f"{name}.onnx", weights, fused)
        quantize_dynamic(folder / f"{name}.onnx", folder / f"{name}-int8.onnx", per_channel=True,
                         weight_type=QuantType.QInt8,
                         extra_options={"DefaultTensorType": TensorProto.FLOAT})
    graph = Nodes()
    graph.add("Identity", "x", output="y")
    graph.save(folder / "identity.onnx", [floats("x", "n")], [floats("y", "n")])
    (folder / "made").write_text("")


if __name__ == "__main__":
    main()
