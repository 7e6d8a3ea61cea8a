"""Makes the golden encoders: small random models of the families that are read.

Each folder in `encoder` beside this file is a case: the files as Hugging Face lays them out, and
`expected.json` with texts, the tokens that the tokenizers library gives for them and what the
transformers library answers, computed in f32 of the weights as they are stored.

Made with tokenizers 0.23.3, torch 2.15.0, safetensors 0.8 and transformers 5.24.0:

    python3 tests/golden/make_encoder.py
"""

import json
import pathlib
import shutil

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).parent / "encoder"

WORDS = """the a model text reads and writes small words of many languages it is was naïve café
über straße running runner ran un want able ##ing ##er ##s ##able ##ly e ##e ##a ##n ##t x ##x
日 本 語 ! ? . , ' - 1 2 3 ##1 ##2 ##3""".split()

TEXTS = [
    "The model reads a small text.",
    "a",
    "",
    "Running, running and RUNNING! Un-wantable café über 日本語 straße",
    "unknown ☃ words 😀 and\tcontrol\u0000 \u00a0 cha\u0301racters e\u0301",
    "the text is a small text and it was a small model of many languages " * 4,
    "naïve 123 [SEP] ''--??",
]


def wordpiece():
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: index for index, word in enumerate(special + WORDS)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.add_special_tokens(special)
    # What the file says of both is not what a server wants.
    tokenizer.enable_padding(length=40)
    tokenizer.enable_truncation(max_length=5)
    return tokenizer


def byte_pairs():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXTS[0], TEXTS[5]], trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


def randomise(model, dtype):
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            numbers = torch.randn(parameter.shape, generator=generator)
            scale = 0.1 if parameter.dim() == 1 else 0.3
            shift = 1.0 if "LayerNorm.weight" in name or "layer_norm.weight" in name else 0.0
            parameter.copy_((shift + scale * numbers).to(dtype).float())
    return model.eval()


def write(name, model, tokenizer, length_max, dtype, answer, more):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model.config.architectures = [type(model).__name__]
    (folder / "config.json").write_text(model.config.to_json_string(use_diff=False))
    tensors = {key: value.to(dtype).contiguous() for key, value in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    for file, content in more.items():
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(json.dumps(content, indent=1))
    reference = Tokenizer.from_str(tokenizer.to_str())
    reference.no_padding()
    reference.enable_truncation(max_length=length_max)
    cases = []
    for text in TEXTS:
        encoding = reference.encode(text)
        ids = torch.tensor([encoding.ids])
        with torch.no_grad():
            values = answer(model, ids)[0].tolist()
        cases.append({"text": text, "ids": encoding.ids, "answer": values})
    expected = {"length_max": length_max, "cases": cases}
    (folder / "expected.json").write_text(json.dumps(expected, ensure_ascii=False))


def sizes(tokenizer, **more):
    common = {"vocab_size": tokenizer.get_vocab_size(), "attn_implementation": "eager"}
    return common | more


def mean(model, ids):
    rows = model(ids).last_hidden_state.mean(dim=1)
    return torch.nn.functional.normalize(rows, dim=1)


def probabilities(model, ids):
    return torch.softmax(model(ids).logits, dim=1)


def main():
    tokenizer = wordpiece()
    config = transformers.BertConfig(
        **sizes(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=40,
    )
    module = "sentence_transformers.models."
    bert = randomise(transformers.BertModel(config), torch.float32)
    write("bert_mean", bert, tokenizer, 24, torch.float32, mean, {
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": module + "Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": module + "Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": module + "Normalize"},
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": 32,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
        "sentence_bert_config.json": {"max_seq_length": 24, "do_lower_case": True},
    })
    config = transformers.DistilBertConfig(
        **sizes(tokenizer),
        dim=32,
        n_layers=2,
        n_heads=2,
        hidden_dim=48,
        max_position_embeddings=40,
        id2label={0: "negative", 1: "neutral", 2: "positive"},
    )
    distilbert = transformers.DistilBertForSequenceClassification(config)
    distilbert = randomise(distilbert, torch.float16)
    write("distilbert_classes", distilbert, tokenizer, 40, torch.float16, probabilities, {})
    tokenizer = byte_pairs()
    config = transformers.RobertaConfig(
        **sizes(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=34,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        hidden_act="gelu_new",
        id2label={0: "no", 1: "yes"},
    )
    roberta = transformers.RobertaForSequenceClassification(config)
    roberta = randomise(roberta, torch.bfloat16)
    write("roberta_classes", roberta, tokenizer, 32, torch.bfloat16, probabilities, {})


main()
