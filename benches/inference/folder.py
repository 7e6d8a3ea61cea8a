"""Owns the encoder's seeded weights in the shape of MiniLM-L6, and its Hugging Face folder.

Refuses to know ONNX. Bound: one set of weights, 45 MB.
"""

import json
from pathlib import Path

import numpy
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
