\set model random(1, 20)
\set user random_zipfian(1, 100000, 1.001)
\set class random(0, 9)
\set confidence random(500000, 1000000)
INSERT INTO predictions (request_id, model_id, user_id, timestamp, features, result, confidence) VALUES (gen_random_uuid(), :model, :user, now(), :@features@, :class, :confidence::int / 1e6);
