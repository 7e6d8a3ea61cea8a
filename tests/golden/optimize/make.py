"""Makes a trained network and the rows that optimised versions of it are compared on.

`digits.safetensors` is a dense network 64-128-64-10 in the form of the train crate, trained on
three quarters of the handwritten digits of scikit-learn; `digits.csv` has the other rows: 64 pixels
and the class. The digits are the test part of Optical Recognition of Handwritten Digits (Alpaydin
and Kaynak, 1998), UCI Machine Learning Repository, CC BY 4.0.

Made with scikit-learn 1.9.1 and safetensors:

    python3 tests/golden/optimize/make.py
"""

import json
import pathlib

import numpy as np
from safetensors.numpy import save_file
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

FOLDER = pathlib.Path(__file__).parent
SIZES = [64, 128, 64, 10]


def main():
    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        x.astype(np.float32), y, test_size=0.25, random_state=7, stratify=y
    )
    mean, deviation = x_train.mean(axis=0), x_train.std(axis=0)
    scale = np.where(deviation > 1e-6, 1.0 / np.maximum(deviation, 1e-6), 1.0)
    network = MLPClassifier(SIZES[1:-1], max_iter=60, random_state=7)
    network.fit((x_train - mean) * scale, y_train)
    print("accuracy", network.score((x_test - mean) * scale, y_test))
    tensors = {}
    for index, (weight, bias) in enumerate(zip(network.coefs_, network.intercepts_)):
        tensors[f"layers.{index}.weight"] = np.ascontiguousarray(weight.T, dtype=np.float32)
        tensors[f"layers.{index}.bias"] = bias.astype(np.float32)
    spec = {
        "architecture": "dense",
        "input": {"name": "features", "shape": [SIZES[0]], "type": "f32"},
        "output": {"name": "probabilities", "shape": [SIZES[-1]], "type": "f32"},
        "classes": [str(digit) for digit in range(10)],
        "preprocessing": {
            "mean": [float(np.float32(value)) for value in mean],
            "scale": [float(np.float32(value)) for value in scale],
        },
        "layers": SIZES,
        "activation": "relu",
    }
    metadata = {"truststram.model": json.dumps(spec)}
    save_file(tensors, FOLDER / "digits.safetensors", metadata=metadata)
    lines = [
        ",".join([*(str(int(pixel)) for pixel in row), str(label)])
        for row, label in zip(x_test, y_test)
    ]
    (FOLDER / "digits.csv").write_text("\n".join(lines) + "\n")


main()
