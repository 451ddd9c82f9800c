CREATE TABLE models (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, type TEXT, status TEXT, created_at INTEGER, updated_at INTEGER, size AS (length(name)) STORED);
CREATE TABLE log (what TEXT);
CREATE TRIGGER t AFTER INSERT ON models BEGIN INSERT INTO log VALUES (new.name); UPDATE models SET name = name || 'x' WHERE id = new.id; END;
CREATE TRIGGER d BEFORE DELETE ON models BEGIN SELECT RAISE(ABORT, 'no'); END;
CREATE INDEX idx_models_name ON log (what);
CREATE VIEW herdsman_events AS SELECT * FROM log;
INSERT INTO models (name, type, status, created_at, updated_at) VALUES ('a', 'llama', 'error', 1, 1);
