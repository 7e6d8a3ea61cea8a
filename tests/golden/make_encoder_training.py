"""Owns PyTorch's gradients of a small text encoder that the tests of training are held against.

Its `nn.TransformerEncoder` is a second opinion on attention, GELU, normalisation and pooling, with
padding where this engine has none. Refuses to know this engine but for the order of its weights.
Bound: one JSON file of some tens of kilobytes. Made with torch 2.15.0:
`python tests/golden/make_encoder_training.py > tests/golden/training/encoder.json`.
"""

import json

import torch
from torch import nn

VOCABULARY, LENGTH, HIDDEN, LAYERS, HEADS, WIDE, CLASSES = 7, 5, 8, 2, 2, 12, 3
LENGTHS = (5, 2, 3, 1)


def listed(tensor: torch.Tensor) -> list[float]:
    return [float(f"{value:.7g}") for value in tensor.detach().flatten().tolist()]


def main() -> None:
    torch.manual_seed(11)
    words, places = nn.Embedding(VOCABULARY, HIDDEN), nn.Embedding(LENGTH, HIDDEN)
    norm = nn.LayerNorm(HIDDEN)
    layer = nn.TransformerEncoderLayer(HIDDEN, HEADS, WIDE, dropout=0.0, activation="gelu",
                                       batch_first=True, norm_first=False)
    encoder = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
    head = nn.Linear(HIDDEN, CLASSES)
    # In the order in which this engine keeps them.
    parameters = [words.weight, places.weight, norm.weight, norm.bias]
    for one in encoder.layers:
        parameters += [one.self_attn.in_proj_weight, one.self_attn.in_proj_bias,
                       one.self_attn.out_proj.weight, one.self_attn.out_proj.bias,
                       one.norm1.weight, one.norm1.bias, one.linear1.weight, one.linear1.bias,
                       one.linear2.weight, one.linear2.bias, one.norm2.weight, one.norm2.bias]
    parameters += [head.weight, head.bias]
    with torch.no_grad():
        for parameter in parameters:
            parameter.copy_(torch.tensor(listed(torch.randn(parameter.shape) * 0.4))
                            .reshape(parameter.shape))
    tokens = torch.randint(0, VOCABULARY, (len(LENGTHS), LENGTH))
    is_padding = torch.arange(LENGTH)[None, :] >= torch.tensor(LENGTHS)[:, None]
    labels = torch.arange(len(LENGTHS)) % CLASSES
    x = norm(words(tokens) + places(torch.arange(LENGTH))[None])
    x = encoder(x, src_key_padding_mask=is_padding)
    kept = (~is_padding)[..., None].float()
    pooled = (x * kept).sum(1) / kept.sum(1)
    loss = nn.functional.cross_entropy(head(pooled), labels)
    loss.backward()
    print(json.dumps({
        "vocabulary": VOCABULARY, "length_max": LENGTH, "hidden": HIDDEN, "layers": LAYERS,
        "heads": HEADS, "feed_forward": WIDE, "classes": CLASSES, "epsilon": norm.eps,
        "tokens": torch.where(is_padding, -1, tokens).flatten().tolist(),
        "labels": labels.tolist(), "loss": loss.item(),
        "weights": [value for parameter in parameters for value in listed(parameter)],
        "gradients": [value for parameter in parameters for value in listed(parameter.grad)],
    }))


if __name__ == "__main__":
    main()
