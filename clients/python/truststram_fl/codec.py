"""Updates as bytes: safetensors that the server holds against its own schema of the model."""

import json

import numpy as np
from safetensors.numpy import save

BLOCK = 256


def _int8(values):
    """Each value as a multiple, from -127 to 127, of the scale of its block."""
    blocks = -(-values.size // BLOCK)
    padded = np.zeros(blocks * BLOCK, np.float32)
    padded[: values.size] = values
    scales = (np.abs(padded).reshape(blocks, BLOCK).max(axis=1) / 127).astype(np.float32)
    divisor = np.where(scales > 0, scales, 1)
    rounded = np.rint(padded.reshape(blocks, BLOCK) / divisor[:, None])
    levels = np.clip(rounded, -127, 127).astype(np.int8)
    sent = (levels * scales[:, None]).astype(np.float32).reshape(-1)[: values.size]
    return levels.reshape(-1)[: values.size], scales, sent


def encode(delta, base_version, encoding="f32"):
    """The bytes of an update, and what of it they hold: `delta` is arrays by name.

    `encoding` is `f32`, `int8`, `top-SHARE-f32` or `top-SHARE-int8`.
    """
    share, number = None, encoding
    if encoding.startswith("top-"):
        text, number = encoding[4:].rsplit("-", 1)
        share = float(text)
    if number not in ("f32", "int8"):
        raise ValueError(f"encoding {encoding!r}: f32 or int8, alone or as top-0.01-int8")
    tensors, sent = {}, {}
    for name, array in delta.items():
        values = np.ascontiguousarray(array, np.float32).reshape(-1)
        held = np.zeros_like(values)
        which = slice(None)
        shape = array.shape
        if share is not None and values.size * share < values.size / 2:
            count = max(int(values.size * share), 1)
            which = np.sort(np.argpartition(-np.abs(values), count - 1)[:count])
            tensors[f"{name}#indices"] = which.astype(np.uint32)
            shape = (count,)
        chosen = values[which]
        if number == "int8":
            levels, scales, chosen = _int8(chosen)
            tensors[f"{name}#int8"] = levels.reshape(shape)
            tensors[f"{name}#scales"] = scales
        elif isinstance(which, slice):
            tensors[name] = chosen.reshape(shape)
        else:
            tensors[f"{name}#values"] = chosen
        held[which] = chosen
        sent[name] = held.reshape(array.shape)
    head = {"kind": "delta", "base": base_version, "block": BLOCK}
    return save(tensors, {"truststram.update": json.dumps(head)}), sent
