"""Secure aggregation: the server is told the sum of updates (Bonawitz et al., 2017).

X25519 (RFC 7748), HKDF (RFC 5869), ChaCha20 and Poly1305 (RFC 8439), Shamir's shares. What is secret
takes a time that depends on it here: use the Rust client where others share the machine.
"""

import hashlib
import hmac
import json
import os
import struct

import numpy as np
from safetensors.numpy import save

SALT = b"truststram secure aggregation 1"
CHUNK = 65_536
_P = 2**255 - 19


def x25519(secret, point=(9).to_bytes(32, "little")):
    """The Montgomery ladder of RFC 7748, section 5."""
    k = int.from_bytes(secret, "little") & ~7 & ((1 << 255) - 1) | 1 << 254
    x1 = int.from_bytes(point, "little") & ((1 << 255) - 1)
    x2, z2, x3, z3, swap = 1, 0, x1, 1, 0
    for bit in reversed(range(255)):
        now = k >> bit & 1
        if swap ^ now:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = now
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb, aa, bb = d * a % _P, c * b % _P, a * a % _P, b * b % _P
        x3, z3 = (da + cb) ** 2 % _P, x1 * (da - cb) ** 2 % _P
        e = aa - bb
        x2, z2 = aa * bb % _P, e * (aa + 121_665 * e) % _P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, _P - 2, _P) % _P).to_bytes(32, "little")


def derive(own, other, purpose, round_number, first, second):
    """The key that two have in common for one purpose."""
    shared = x25519(own, other)
    if not any(shared):
        raise ValueError("a key takes no part in the agreement")
    info = purpose + struct.pack("<QII", round_number, first, second)
    extracted = hmac.digest(SALT, shared, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def chacha20(key, count, nonce=bytes(12), counter=1):
    """So many bytes of the stream."""
    blocks = -(-count // 64)
    start = np.empty((16, blocks), np.uint32)
    start[:4] = np.array([0x61707865, 0x3320646E, 0x79622D32, 0x6B206574], np.uint32)[:, None]
    start[4:12] = np.frombuffer(key, "<u4")[:, None]
    start[12] = np.arange(counter, counter + blocks, dtype=np.uint32)
    start[13:] = np.frombuffer(nonce, "<u4")[:, None]
    s = start.copy()

    def mix(a, b, c, d):
        for target, adds, turned, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            s[target] += s[adds]
            s[turned] ^= s[target]
            s[turned] = s[turned] << np.uint32(bits) | s[turned] >> np.uint32(32 - bits)

    for _ in range(10):
        for at in range(4):
            mix(at, 4 + at, 8 + at, 12 + at)
        for at in range(4):
            mix(at, 4 + (at + 1) % 4, 8 + (at + 2) % 4, 12 + (at + 3) % 4)
    return (s + start).T.astype("<u4").tobytes()[:count]


def stream(seed, count):
    """The first whole numbers of the stream of a seed."""
    parts = []
    for chunk in range(-(-4 * count // CHUNK)):
        size = min(CHUNK, 4 * count - chunk * CHUNK)
        parts.append(chacha20(seed, size, struct.pack("<QI", chunk, 0)))
    return np.frombuffer(b"".join(parts), "<u4")


def _tag(key, sealed):
    once = chacha20(key, 32, counter=0)
    r = int.from_bytes(once[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    padded = sealed + bytes(-len(sealed) % 16) + struct.pack("<QQ", 0, len(sealed))
    total = 0
    for at in range(0, len(padded), 16):
        total = (total + int.from_bytes(padded[at : at + 16] + b"\x01", "little")) * r % (2**130 - 5)
    return ((total + int.from_bytes(once[16:], "little")) % 2**128).to_bytes(16, "little")


def _xor(key, text):
    return bytes(a ^ b for a, b in zip(text, chacha20(key, len(text))))


def seal(key, text):
    """ChaCha20-Poly1305 of a key that seals once."""
    sealed = _xor(key, text)
    return sealed + _tag(key, sealed)


def unseal(key, sealed):
    """The text, which must be as it was sealed."""
    if not hmac.compare_digest(_tag(key, sealed[:-16]), sealed[-16:]):
        raise ValueError("shares were changed on their way")
    return _xor(key, sealed[:-16])


def _multiply(a, b):
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = a << 1 ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return product


def split(secret, threshold, count):
    """Shamir's shares over the field of AES, for the points 1, 2, ..."""
    rows = [secret] + [os.urandom(len(secret)) for _ in range(threshold - 1)]

    def share(point):
        value = bytes(len(secret))
        for row in reversed(rows):
            value = bytes(_multiply(v, point) ^ c for v, c in zip(value, row))
        return value

    return [share(point) for point in range(1, count + 1)]


class Member:
    """A client's part of one round; its secrets go with it."""

    def __init__(self, client, task):
        self._client, self._task = client, task
        self._mask, self._share, self._seed = (os.urandom(32) for _ in range(3))
        self._held, self._round, self._answered = {}, None, None

    def _path(self):
        return f"/api/v1/fl/tasks/{self._task['task']}/secure"

    def _next(self, after=None):
        """What the next step asks for; None where the round is over."""
        while True:
            query = "?wait=30" + (f"&after={after}" if after else "")
            status, answer = self._client.ask("GET", self._path() + query)
            if status == 200:
                return json.loads(answer)
            if status != 204:
                return None

    def _tell(self, message):
        body = json.dumps(message).encode()
        status, _ = self._client.ask("POST", self._path(), body, "application/json")
        return status == 202

    def prepare(self):
        """Keys and shares; whether the round goes on."""
        own = self._client.id
        keys = x25519(self._mask) + x25519(self._share) + hashlib.sha256(self._seed).digest()
        if not self._next() or not self._tell({"keys": keys.hex()}):
            return False
        found = self._next("keys")
        if not found or found["step"] != "shares":
            return False
        roster = {int(number): bytes.fromhex(text) for number, text in found["keys"].items()}
        threshold, count = found["threshold"], len(roster)
        is_sound = count / 2 < threshold <= count <= 255 and roster.get(own) == keys
        if not is_sound or len(set(roster.values())) != count:
            raise ValueError("the server's list of keys protects nobody")
        shares = zip(split(self._mask, threshold, count), split(self._seed, threshold, count))
        sealed = {}
        for other, pair in zip(sorted(roster), shares):
            if other == own:
                self._held[own] = pair
                continue
            key = derive(self._share, roster[other][32:64], b"shares", found["round"], own, other)
            sealed[other] = seal(key, pair[0] + pair[1]).hex()
        if not self._tell({"shares": sealed}):
            return False
        self._round, self._roster, self._threshold = found["round"], roster, threshold
        self._input = self._next("shares")
        return bool(self._input) and self._input["step"] == "input"

    def _masked(self, values):
        """Whole numbers that hide the values."""
        own, shown = self._client.id, self._input
        if len(shown["shares"]) + 1 < self._threshold:
            raise ValueError("too few clients have shared their secrets")
        steps = np.floor((2**31 - 1) / (len(shown["shares"]) + 1)) / float(np.float32(shown["range"]))
        clipped = np.clip(values.astype(np.float64), -shown["range"], shown["range"])
        whole = np.trunc(clipped * steps).astype(np.int32).view(np.uint32)
        whole = whole + stream(self._seed, whole.size)
        for number, text in shown["shares"].items():
            other = int(number)
            keys = self._roster[other]
            key = derive(self._share, keys[32:64], b"shares", self._round, other, own)
            pair = unseal(key, bytes.fromhex(text))
            self._held[other] = (pair[:32], pair[32:])
            first, second = sorted((own, other))
            seed = derive(self._mask, keys[:32], b"mask", self._round, first, second)
            mask = stream(seed, whole.size)
            whole = whole + mask if own < other else whole - mask
        return whole

    def send(self, delta):
        """Sends a masked update and takes part in taking the masks off; whether it counts."""
        shown = self._input
        values = np.concatenate([delta[name].reshape(-1) for name in shown["tensors"]])
        if not np.isfinite(values).all():
            raise ValueError("an update must be finite")
        length = float(np.linalg.norm(values.astype(np.float64)))
        bit = shown.get("clip_bit")
        says = shown["range"] if bit and length <= shown["clip_norm"] else -shown["range"]
        if shown["clip_norm"] is not None and length > shown["clip_norm"]:
            values = values * np.float32(shown["clip_norm"] * (1 - 1e-6) / length)
        if bit:
            # One more value, hidden like the others: whether the clip is long enough for this one.
            values = np.append(values, np.float32(says))
        whole, tensors, at = self._masked(values), {}, 0
        for name in shown["tensors"]:
            size = delta[name].size
            tensors[name] = whole[at : at + size].reshape(delta[name].shape)
            at += size
        if bit:
            tensors[bit] = whole[at:]
        head = {"kind": "masked", "base": self._task["base_version"], "block": 256}
        body = save(tensors, {"truststram.update": json.dumps(head)})
        path = f"/api/v1/fl/tasks/{self._task['task']}/updates?examples=1"
        status, _ = self._client.ask("POST", path, body, "application/octet-stream")
        found = self._next("input") if status == 202 else None
        return bool(found) and self._tell({"answers": self._reveal(found["survivors"])})

    def _reveal(self, survivors):
        """A share of one secret of each client, never of both, for one list."""
        alive, dropped = set(survivors["alive"]), set(survivors["dropped"])
        is_sound = len(alive) >= self._threshold and self._client.id in alive
        if not is_sound or alive & dropped or alive | dropped != set(self._held) or self._answered:
            raise ValueError("the server asks for more than takes the masks off")
        self._answered = survivors
        return {
            "seeds": {number: self._held[number][1].hex() for number in alive},
            "mask_keys": {number: self._held[number][0].hex() for number in dropped},
        }
