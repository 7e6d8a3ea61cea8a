"""Owns the encoder of the comparison, in the shape of MiniLM-L6 with seeded weights: as a Hugging
Face folder, and as the ONNX files that ONNX Runtime may choose from.

Refuses to know who is faster. Bound: one set of weights; no mask, as all texts of a batch are of
one length.
"""

import json
from pathlib import Path

import numpy
from graph import Nodes, floats
from onnx import TensorProto, helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.optimizer import optimize_model
from safetensors.numpy import save_file

LAYERS, WIDTH, HEADS, INNER, VOCABULARY, POSITIONS = 6, 384, 12, 1536, 1000, 512
EPSILON = 1e-12
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def random_weights() -> dict[str, numpy.ndarray]:
    """By the names that Hugging Face uses."""
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


def hugging_face(folder: Path, weights: dict[str, numpy.ndarray]) -> None:
    """The folder, with a tokenizer of that many words and mean pooling."""
    (folder / "1_Pooling").mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({
        "architectures": ["BertModel"], "model_type": "bert", "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": INNER,
        "hidden_act": "gelu", "max_position_embeddings": POSITIONS, "type_vocab_size": 2,
        "vocab_size": VOCABULARY, "layer_norm_eps": EPSILON, "pad_token_id": 0,
        "position_embedding_type": "absolute",
    }))
    (folder / "1_Pooling/config.json").write_text(json.dumps({
        "word_embedding_dimension": WIDTH, "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False,
    }))
    (folder / "modules.json").write_text(json.dumps([
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling",
         "type": "sentence_transformers.models.Pooling"},
    ]))
    words = SPECIAL + [f"w{index}" for index in range(VOCABULARY - len(SPECIAL))]
    special = [{"id": index, "content": word, "single_word": False, "lstrip": False,
                "rstrip": False, "normalized": False, "special": True}
               for index, word in enumerate(SPECIAL)]
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
