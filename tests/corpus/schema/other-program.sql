CREATE TABLE herdsman_meta (key, value);
INSERT INTO herdsman_meta VALUES ('schema_version', '1');
CREATE TABLE herdsman_models (name, model_id);
CREATE VIRTUAL TABLE words USING fts5(text);
CREATE TABLE models (id TEXT PRIMARY KEY, name TEXT COLLATE NOCASE) WITHOUT ROWID;
PRAGMA user_version = 7;
