"""Owns the guide's application: FastAPI on Uvicorn, PyTorch, asyncpg into PostgreSQL.

Refuses to know nginx and the load. Bound: 20 database connections; inserts wait in
memory without a limit.

It follows section "FastAPI Optimization" of the tuning guide: its middlewares, endpoint, background
logging and Uvicorn settings. Deviations, each in this stack's favour or forced by one core:
- the model is looked up in `models` inside a transaction once per cache lifetime, not per request;
- no limit_max_requests (the guide's 10,000 would end the single worker within seconds), no TLS;
- no limit_concurrency: Uvicorn counts the inserts still running in the background too, so that the
  guide's 1000 refused 2 % of this load;
- the forward pass runs in the event loop: for this small net a thread hop costs more than the pass.

Environment: GUIDE_PORT, GUIDE_DATABASE_HOST (socket directory), GUIDE_POOL_SIZE.
"""

import asyncio
import json
import logging
import os
import struct
import time
from contextlib import asynccontextmanager
from datetime import datetime, timezone

import asyncpg
import torch
import uvicorn
from fastapi import BackgroundTasks, FastAPI, HTTPException
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from pydantic import BaseModel

logger = logging.getLogger("guide_stack")

MODEL_CACHE_SECONDS = 300
INSERT_PREDICTION = """
    INSERT INTO predictions (model_id, user_id, timestamp, features, result, confidence)
    VALUES ($1, $2, $3, $4::jsonb, $5, $6)
"""


class DenseNet(torch.nn.Module):
    """The served net: standardise, dense layers with ReLU between them, softmax."""

    def __init__(self, path: str):
        super().__init__()
        tensors, description = read_safetensors(path)
        preprocessing = description["preprocessing"]
        self.register_buffer("mean", torch.tensor(preprocessing["mean"], dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(preprocessing["scale"], dtype=torch.float32))
        layer_count = sum(name.endswith(".weight") for name in tensors)
        layers: list[torch.nn.Module] = []
        for index in range(layer_count):
            weight = tensors[f"layers.{index}.weight"]
            layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
            layer.weight = torch.nn.Parameter(weight)
            layer.bias = torch.nn.Parameter(tensors[f"layers.{index}.bias"])
            layers += [torch.nn.ReLU(), layer] if layers else [layer]
        self.layers = torch.nn.Sequential(*layers, torch.nn.Softmax(dim=1))
        self.feature_count = layers[0].in_features
        self.eval()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features as given, [rows, features], to probabilities, [rows, classes]."""
        return self.layers((features - self.mean) * self.scale)


def read_safetensors(path: str) -> tuple[dict[str, torch.Tensor], dict]:
    """The f32 tensors of a native model file and the description in its metadata."""
    with open(path, "rb") as file:
        (header_bytes,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(header_bytes))
        data = file.read()
    description = json.loads(header.pop("__metadata__")["truststram.model"])
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] != "F32":
            raise ValueError(f"{path}: tensor {name} is {entry['dtype']}, expected F32")
        start, end = entry["data_offsets"]
        flat = torch.frombuffer(bytearray(data[start:end]), dtype=torch.float32)
        tensors[name] = flat.reshape(entry["shape"])
    return tensors, description


class State:
    """What one worker holds: the database pool, the models in memory, its counters."""

    pool: asyncpg.Pool
    models: dict[str, tuple[float, DenseNet]] = {}
    answered = 0
    kept = 0


class PredictionRequest(BaseModel):
    """The body of a prediction request."""

    model_id: str
    user_id: str | None = None
    data: list[float]


@asynccontextmanager
async def lifespan(_: FastAPI):
    """Opens the pool before the first request and closes it after the last."""
    size = int(os.environ["GUIDE_POOL_SIZE"])
    State.pool = await asyncpg.create_pool(
        host=os.environ["GUIDE_DATABASE_HOST"], user="postgres", database="postgres",
        min_size=size, max_size=size, max_inactive_connection_lifetime=0,
    )
    yield
    await State.pool.close()


app = FastAPI(
    title="TrustStram API", version="4.4.0", docs_url=None, redoc_url=None, lifespan=lifespan
)
app.add_middleware(GZipMiddleware, minimum_size=1000)
app.add_middleware(
    CORSMiddleware,
    allow_origins=["*"],
    allow_credentials=True,
    allow_methods=["*"],
    allow_headers=["*"],
)


@app.middleware("http")
async def performance_middleware(request, call_next):
    """The guide's timing header and slow-request log."""
    start_time = time.time()
    response = await call_next(request)
    process_time = time.time() - start_time
    response.headers["X-Process-Time"] = str(process_time)
    if process_time > 1.0:
        logger.warning("Slow request: %s took %.2fs", request.url, process_time)
    return response


async def get_model_async(model_id: str) -> DenseNet | None:
    """The active model of this name, from memory while the cached entry lives."""
    cached = State.models.get(model_id)
    if cached and time.monotonic() - cached[0] < MODEL_CACHE_SECONDS:
        return cached[1]
    async with State.pool.acquire() as connection, connection.transaction():
        row = await connection.fetchrow(
            "SELECT path FROM models WHERE id = $1 AND status = 'active'", model_id
        )
    if row is None:
        return None
    model = DenseNet(row["path"])
    State.models[model_id] = (time.monotonic(), model)
    return model


async def perform_prediction_async(model: DenseNet, data: list[float]) -> tuple[int, float]:
    """The predicted class and its probability."""
    with torch.inference_mode():
        probabilities = model(torch.tensor([data], dtype=torch.float32))
        confidence, predicted = probabilities.max(dim=1)
    return int(predicted), float(confidence)


async def log_prediction_async(
    request: PredictionRequest, timestamp: datetime, predicted: int, confidence: float
) -> None:
    """Keeps the record; runs after the answer, as a background task."""
    await State.pool.execute(
        INSERT_PREDICTION, request.model_id, request.user_id, timestamp,
        json.dumps(request.data), float(predicted), confidence,
    )
    State.kept += 1


@app.post("/api/v1/predict")
async def predict_async(request: PredictionRequest, background_tasks: BackgroundTasks):
    """One prediction, answered at once and kept in the background."""
    model = await get_model_async(request.model_id)
    if not model:
        raise HTTPException(status_code=404, detail="Model not found")
    if len(request.data) != model.feature_count:
        raise HTTPException(status_code=422, detail=f"expected {model.feature_count} features")
    prediction_task = asyncio.create_task(perform_prediction_async(model, request.data))
    predicted, confidence = await prediction_task
    timestamp = datetime.now(timezone.utc)
    background_tasks.add_task(log_prediction_async, request, timestamp, predicted, confidence)
    State.answered += 1
    return {
        "prediction": predicted,
        "confidence": confidence,
        "model_id": request.model_id,
        "timestamp": timestamp,
    }


@app.get("/health")
async def health():
    """Readiness, with the two counters that tell when every answer has been kept."""
    return {"status": "ok", "answered": State.answered, "kept": State.kept}


if __name__ == "__main__":
    torch.set_num_threads(1)
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(os.environ["GUIDE_PORT"]),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=65,
        timeout_graceful_shutdown=30,
    )
