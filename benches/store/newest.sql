\set model random(1, 20)
SELECT request_id, model_id, user_id, timestamp, features, result, confidence FROM predictions WHERE model_id = :model ORDER BY timestamp DESC LIMIT 100;
