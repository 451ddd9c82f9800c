CREATE TABLE models (id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, status TEXT NOT NULL, parameters TEXT, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL);
INSERT INTO models VALUES (1, 'a', 'llama', 'running', '{"ctx_size": 512}', 1, 1), (2, 'b', 'gpt', 'stopped', NULL, 2, 2);
