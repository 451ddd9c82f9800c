CREATE TABLE real_models (id INTEGER PRIMARY KEY, name, type, status, created_at, updated_at);
INSERT INTO real_models VALUES (1, 'a', 'llama', 'running', 1, 1);
CREATE VIEW models AS SELECT * FROM real_models;
