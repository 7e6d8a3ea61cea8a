"""Owns PyTorch's side of the comparison, and scikit-learn's for trees: the same questions on
standard input as the other programs get.

Refuses to know what is measured against it. Bound: eager inference mode or `torch.compile`, as the
question says; one process per run of the bench.
"""

import pickle
from pathlib import Path

import numpy
from measure import inputs, serve

WIDTH, HEADS = 384, 12


def torch_module():
    """PyTorch, where a question needs it: scikit-learn's models do without."""
    import torch
    return torch


def dense(path: Path):
    """The layers of a `.weights` file, ReLU between, softmax at the end."""
    from safetensors.torch import load_file
    nn = torch_module().nn
    weights, layers = load_file(path), []
    for index in range(len(weights) // 2):
        weight = weights[f"layers.{index}.weight"]
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.weight.data, linear.bias.data = weight, weights[f"layers.{index}.bias"]
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1], nn.Softmax(-1))


def encoder(path: Path):
    """BERT's encoder with mean pooling, of a Hugging Face folder."""
    from safetensors.torch import load_file
    torch = torch_module()
    nn, weights = torch.nn, load_file(path / "model.safetensors")

    def filled(module, name: str):
        module.weight.data = weights[f"{name}.weight"]
        if module.bias is not None:
            module.bias.data = weights[f"{name}.bias"]
        return module

    def linear(name: str):
        outputs, inputs = weights[f"{name}.weight"].shape
        return filled(nn.Linear(inputs, outputs), name)

    def norm(name: str):
        return filled(nn.LayerNorm(WIDTH, eps=1e-12), name)

    class Layer(nn.Module):
        def __init__(self, at: str):
            super().__init__()
            names = [f"{at}.attention.self.{part}" for part in ("query", "key", "value")]
            self.joined = nn.Linear(WIDTH, 3 * WIDTH)
            self.joined.weight.data = torch.cat([weights[f"{name}.weight"] for name in names])
            self.joined.bias.data = torch.cat([weights[f"{name}.bias"] for name in names])
            self.mixed, self.norm1 = (linear(f"{at}.attention.output.dense"),
                                      norm(f"{at}.attention.output.LayerNorm"))
            self.inner = linear(f"{at}.intermediate.dense")
            self.outer = linear(f"{at}.output.dense")
            self.norm2 = norm(f"{at}.output.LayerNorm")

        def forward(self, value):
            rows, length, _ = value.shape
            parts = self.joined(value).view(rows, length, 3, HEADS, WIDTH // HEADS)
            query, key, content = parts.permute(2, 0, 3, 1, 4)
            mixed = nn.functional.scaled_dot_product_attention(query, key, content)
            mixed = mixed.transpose(1, 2).reshape(rows, length, WIDTH)
            value = self.norm1(value + self.mixed(mixed))
            return self.norm2(value + self.outer(nn.functional.gelu(self.inner(value))))

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.places, self.types = (
                nn.Embedding.from_pretrained(weights[f"embeddings.{part}_embeddings.weight"])
                for part in ("word", "position", "token_type"))
            self.first = norm("embeddings.LayerNorm")
            count = sum(name.endswith("intermediate.dense.weight") for name in weights)
            layers = [Layer(f"encoder.layer.{index}") for index in range(count)]
            self.layers = nn.Sequential(*layers)

        def forward(self, tokens):
            places = self.places.weight[:tokens.shape[1]] + self.types.weight[0]
            return self.layers(self.first(self.words(tokens) + places)).mean(1)

    return Encoder()


def open_model(question: dict):
    """The call that a question is about."""
    arrays = inputs(question)
    if "pickle" in question:
        model = pickle.loads(Path(question["pickle"]).read_bytes())
        return lambda index: model.predict_proba(arrays[index % len(arrays)])
    torch = torch_module()
    torch.set_num_threads(question["threads"])
    model = dense(Path(question["weights"])) if "weights" in question else encoder(
        Path(question["folder"]))
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    if question["precision"] == "int8":
        model = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, torch.qint8)
    if question["form"] == "compiled":
        model = torch.compile(model, dynamic=False)
    tensors = [torch.from_numpy(array) for array in arrays]

    def call(index: int) -> numpy.ndarray:
        with torch.inference_mode():
            return model(tensors[index % len(tensors)]).numpy()

    return call


if __name__ == "__main__":
    serve(open_model)
