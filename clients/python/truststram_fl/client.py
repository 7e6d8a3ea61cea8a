"""A client: it enrols, waits for tasks, fetches models, sends updates."""

import hashlib
import json
import os
import pathlib
import random
import time
import urllib.error
import urllib.request

import numpy as np
from safetensors.numpy import load

from . import ed25519, secure
from .codec import encode

_LATER = (429, 502, 503, 504, 507)


class Over(Exception):
    """The federation is over."""


class Refused(Exception):
    """The server does not take this; it says why."""


class Client:
    """A member of the federation at `url`; its key is kept in the folder `state`."""

    def __init__(self, url, token=None, samples=1, state="truststram-client"):
        self.url = url.rstrip("/")
        self.token, self.samples = token, samples
        folder = pathlib.Path(state)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "key"
        if not path.exists():
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(os.urandom(32).hex())
        self._key = ed25519.key(bytes.fromhex(path.read_text().strip()))
        self._residual_path = folder / "residual.npz"
        self._epoch, self.id = None, 0
        self._member = None
        self.enrol()

    def _send(self, method, path, body, headers):
        request = urllib.request.Request(self.url + path, body or None, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            return error.code, error.read(), error.headers

    def _signed(self, method, path, body, media):
        if self._epoch is None:
            self._epoch = json.loads(self._send("GET", "/api/v1/fl/status", b"", {})[1])["epoch"]
        digest, nonce = hashlib.sha256(body).hexdigest(), os.urandom(16).hex()
        now = str(time.time_ns() // 1000)
        text = "\n".join([self._epoch, method, path, digest, str(self.id), now, nonce])
        headers = {
            "x-fl-client": str(self.id),
            "x-fl-time": now,
            "x-fl-nonce": nonce,
            "x-fl-signature": self._key.sign(text.encode()).hex(),
            "x-content-sha256": digest,
        }
        if media:
            headers["content-type"] = media
        return headers

    def ask(self, method, path, body=b"", media=None):
        """Status and body of an answer that says something about the request itself."""
        tries, is_renewed = 0, False
        while True:
            wait = min(0.2 * 2**tries, 15) * random.uniform(0.5, 1)
            try:
                headers = self._signed(method, path, body, media)
                status, answer, about = self._send(method, path, body, headers)
            except (urllib.error.URLError, ConnectionError, TimeoutError, KeyError):
                self._epoch = None
            else:
                if status == 401 and not is_renewed:
                    # The server has started anew, and has another epoch.
                    self._epoch, is_renewed = None, True
                    continue
                if status not in _LATER:
                    return status, answer
                wait = max(wait, float(about.get("retry-after") or 0))
            tries += 1
            time.sleep(wait)

    @staticmethod
    def _detail(status, answer):
        try:
            return f"{status}: {json.loads(answer)['detail']}"
        except (ValueError, KeyError):
            return str(status)

    def enrol(self):
        """Takes part; a key that is known needs no token."""
        body = {"public_key": self._key.public.hex(), "samples": self.samples}
        if self.token:
            body["token"] = self.token
        self.id = 0
        path = "/api/v1/fl/clients"
        status, answer = self.ask("POST", path, json.dumps(body).encode(), "application/json")
        if status == 410:
            raise Over(self._detail(status, answer))
        if status != 201:
            raise Refused(self._detail(status, answer))
        self.id = json.loads(answer)["client"]

    def task(self, wait=30):
        """The next task, or None after so many seconds."""
        status, answer = self.ask("GET", f"/api/v1/fl/clients/{self.id}/task?wait={wait}")
        if status == 200:
            task = json.loads(answer)
            if not task.get("secure"):
                return task
            # Keys and shares come before training, so that nobody waits for it.
            self._member = secure.Member(self, task)
            if self._member.prepare():
                return task
            # It stays this client's until its round is over.
            time.sleep(1)
            return None
        if status == 204:
            return None
        if status == 410:
            raise Over(self._detail(status, answer))
        if status == 401:
            self.enrol()
            return None
        raise Refused(self._detail(status, answer))

    def model(self, task):
        """The model of a task: arrays by name, and what the file says of itself."""
        path = f"/api/v1/fl/models/{task['model']}/versions/{task['base_version']}"
        status, answer = self.ask("GET", path)
        if status != 200:
            raise Refused(self._detail(status, answer))
        if hashlib.sha256(answer).hexdigest() != task["sha256"]:
            raise Refused("the model that was fetched is not the one of the task")
        header = json.loads(answer[8 : 8 + int.from_bytes(answer[:8], "little")])
        about = header["__metadata__"]
        text = about.get("truststram.model") or about["truststram.graph"]
        return load(answer), json.loads(text)

    def send(self, task, before, after, examples, loss=None, encoding=None):
        """Sends what training has changed of the task's tensors; returns whether it counts.

        What the encoding leaves out is kept and added to the next update.
        """
        names = task.get("tensors") or before
        delta = {name: after[name] - before[name] for name in names}
        if task.get("secure"):
            return self._member.send(delta)
        encoding = encoding or task["encodings"][0]
        if self._residual_path.exists():
            with np.load(self._residual_path) as kept:
                for name in kept.files:
                    if name in delta and kept[name].shape == delta[name].shape:
                        delta[name] = delta[name] + kept[name]
        body, sent = encode(delta, task["base_version"], encoding)
        path = f"/api/v1/fl/tasks/{task['task']}/updates?examples={examples}"
        if loss is not None:
            path += f"&loss={loss:.6f}"
        status, answer = self.ask("POST", path, body, "application/octet-stream")
        if status == 202:
            np.savez(self._residual_path, **{name: delta[name] - sent[name] for name in delta})
            return True
        if status in (404, 409, 410):
            return False
        raise Refused(self._detail(status, answer))
