-- Owns the guide's `predictions` with the indexes of its "Database Indexing Strategy", and its view
-- `mv_model_performance`, which is made where the rows are.
-- Refuses to know who writes. Bound: none; every database starts empty.
-- In PostgreSQL's favour: ids are integers, as in the guide's partitioned table (the store keeps
-- texts), request ids have no index, the table has no partitions to route rows to. The GIN index on
-- features is not here: postgres_peer.py makes it in one of two clusters.

CREATE TABLE models (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    model_type TEXT NOT NULL,
    status TEXT NOT NULL
);
INSERT INTO models SELECT id, 'model-' || id, 'dense', 'active' FROM generate_series(1, 20) AS id;

CREATE TABLE predictions (
    id BIGSERIAL PRIMARY KEY,
    request_id UUID,
    model_id INTEGER NOT NULL,
    user_id INTEGER,
    timestamp TIMESTAMPTZ NOT NULL,
    features JSONB,
    result FLOAT,
    confidence FLOAT
);
CREATE INDEX idx_predictions_timestamp ON predictions USING btree (timestamp);
CREATE INDEX idx_predictions_model_timestamp ON predictions USING btree (model_id, timestamp);
CREATE INDEX idx_predictions_user_timestamp ON predictions USING btree (user_id, timestamp);
CREATE INDEX idx_predictions_model_user_time
    ON predictions USING btree (model_id, user_id, timestamp DESC);

-- Concurrent refreshes need the unique index, which the guide leaves out.
CREATE MATERIALIZED VIEW mv_model_performance AS
SELECT
    m.id AS model_id,
    m.name,
    m.model_type,
    COUNT(p.id) AS total_predictions,
    AVG(p.confidence) AS avg_confidence,
    COUNT(p.id) FILTER (WHERE p.timestamp >= CURRENT_DATE - INTERVAL '24 hours')
        AS daily_predictions,
    MAX(p.timestamp) AS last_prediction_time
FROM models m
LEFT JOIN predictions p ON m.id = p.model_id
WHERE m.status = 'active'
GROUP BY m.id, m.name, m.model_type;
CREATE UNIQUE INDEX mv_model_performance_model ON mv_model_performance (model_id);
