-- Owns the two tables of the guide's stack with the indexes of its "Database Indexing Strategy".
-- Refuses to know who writes them. Bound: none; every run starts from an empty cluster.
-- Left out: the partial index on "the last 30 days", which PostgreSQL refuses because CURRENT_DATE
-- is not immutable, and CONCURRENTLY, which means nothing on empty tables.

CREATE TABLE models (
    id TEXT PRIMARY KEY,
    owner_id TEXT NOT NULL,
    name TEXT NOT NULL,
    model_type TEXT NOT NULL,
    version INTEGER NOT NULL,
    status TEXT NOT NULL,
    path TEXT NOT NULL,
    metadata JSONB,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX idx_models_created_at_btree ON models USING btree (created_at);
CREATE INDEX idx_models_status ON models USING btree (status) WHERE status = 'active';
CREATE INDEX idx_models_type_version ON models USING btree (model_type, version);
CREATE INDEX idx_models_owner_created ON models USING btree (owner_id, created_at DESC);
CREATE INDEX idx_models_owner_type_status ON models USING btree (owner_id, model_type, status);
CREATE INDEX idx_models_metadata_gin ON models USING gin (metadata);
CREATE INDEX idx_models_list_covering ON models USING btree (owner_id, created_at DESC)
    INCLUDE (name, model_type, status, version);

CREATE TABLE predictions (
    id BIGSERIAL PRIMARY KEY,
    model_id TEXT NOT NULL,
    user_id TEXT,
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
CREATE INDEX idx_predictions_features_gin ON predictions USING gin (features);

INSERT INTO models (id, owner_id, name, model_type, version, status, path, metadata)
VALUES ('digits', 'bench', 'digits', 'dense', 1, 'active', :'model_path', '{}');
