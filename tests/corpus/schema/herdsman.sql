CREATE TABLE herdsman_applied_plans (
    id TEXT NOT NULL PRIMARY KEY,       -- the saved plan's
    begun_at INTEGER NOT NULL,          -- written before its first effect
    ended_at INTEGER                    -- NULL: under way, or herdsman died
);
INSERT INTO "herdsman_applied_plans" VALUES('1e0cde1c-0e05-4cb5-8a3e-6a9a4d5fd1b1',3,NULL);
CREATE TABLE herdsman_events (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    name TEXT NOT NULL,
    action TEXT NOT NULL,
    cause TEXT NOT NULL,
    reasons TEXT NOT NULL,              -- JSON
    failure TEXT,                       -- why it failed; NULL: done
    duration_ms INTEGER NOT NULL
);
INSERT INTO "herdsman_events" VALUES(1,3,'a','restart','reconcile','[{"field":"ctx_size","reason":"changed"}]','port busy',12);
CREATE TABLE herdsman_generations (
    name TEXT NOT NULL,
    number INTEGER NOT NULL,
    hash TEXT NOT NULL,
    spec TEXT NOT NULL,                 -- model::Spec as JSON
    source TEXT NOT NULL,
    git_commit TEXT,
    origins TEXT NOT NULL,              -- JSON
    accepted_by TEXT,
    outcome TEXT NOT NULL,              -- pending, ready, failed
    death TEXT,                         -- model::Death as JSON, when failed
    created_at INTEGER NOT NULL,
    PRIMARY KEY (name, number)
);
INSERT INTO "herdsman_generations" VALUES('a',1,'v1:00000000000000000000000000000001','{"host":"127.0.0.1","port":8101}','/models.d/a.toml',NULL,'[{"file":"models.d/a.toml","line":1}]',NULL,'ready',NULL,1);
INSERT INTO "herdsman_generations" VALUES('a',2,'v1:00000000000000000000000000000002','{"host":"127.0.0.1","port":8102}','/models.d/a.toml',NULL,'[{"file":"models.d/a.toml","line":2}]','b','failed','{"cause":"no_memory","message":"out of \"memory\""}',2);
CREATE TABLE herdsman_instances (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    generation INTEGER NOT NULL,
    spec TEXT NOT NULL,
    host TEXT NOT NULL,
    port INTEGER,
    state TEXT NOT NULL,                -- intent, loading, ready, draining, stopping
    drain_deadline INTEGER,
    pid INTEGER,                        -- these four together or not at all
    start_ticks INTEGER,
    boot_id TEXT,
    pid_namespace INTEGER,
    started_at INTEGER NOT NULL,
    progress INTEGER NOT NULL,
    progress_at INTEGER NOT NULL,
    first_ready_at INTEGER,
    last_ready_at INTEGER,
    unanswered_since INTEGER,
    log_offset INTEGER NOT NULL,
    binary TEXT
);
INSERT INTO "herdsman_instances" VALUES('i-1','a',1,'v1:0','127.0.0.1',8101,'draining',99,42,-1,'boot',4026531836,10,1099511627776,11,12,13,14,77,'/bin/llama-server 1');
INSERT INTO "herdsman_instances" VALUES('i-2','a',1,'v1:0','127.0.0.1',8101,'draining',99,42,-1,'boot',4026531836,9,1099511627776,11,12,13,14,77,'/bin/llama-server 1');
INSERT INTO "herdsman_instances" VALUES('i-3','gone',1,'v1:0','127.0.0.1',NULL,'intent',NULL,NULL,NULL,NULL,NULL,10,1099511627776,11,NULL,NULL,NULL,77,NULL);
CREATE TABLE herdsman_meta (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO "herdsman_meta" VALUES('schema_version','3');
CREATE TABLE herdsman_models (
    name TEXT NOT NULL PRIMARY KEY,
    model_id INTEGER NOT NULL,          -- its row in models
    row_created_at,                     -- that row's created_at, to know it from another with the same id
    row_digest BLOB NOT NULL,           -- of the columns herdsman owns, as written
    source TEXT NOT NULL,               -- the definition's path
    state TEXT NOT NULL,
    config TEXT NOT NULL,               -- model::ModelConfig as JSON: description, labels, aliases, parameters
    config_digest TEXT NOT NULL,
    generation INTEGER,                 -- the wanted one
    status TEXT NOT NULL,               -- as last written to models.status
    status_at INTEGER NOT NULL,
    status_message TEXT,
    crash_count INTEGER NOT NULL DEFAULT 0,
    last_start INTEGER,
    port INTEGER,
    port_proven INTEGER NOT NULL DEFAULT 0
);
INSERT INTO "herdsman_models" VALUES('a',1,1,X'9E412BF754BE3A8A262AD563F12547EE','/models.d/a.toml','running','{"name":"a","source":"/models.d/a.toml","model_type":"llama","state":"running","description":null,"labels":{"team":"search"},"aliases":[],"drain_ms":30000,"file_size":1234,"parameters":{"cont_batching":true,"ctx_size":8192,"gpu_layers":"auto","model":"/w/m.gguf","parallel":4,"prio":2,"rope_scale":1.5,"temperature":0.7}}','acfd6e0e3f02e91cd16447e627177eb8',2,'error',2,'why',3,8,8101,1);
CREATE TABLE herdsman_overrides (
    name TEXT NOT NULL,
    kind TEXT NOT NULL,                 -- suspended, state, restart
    given_by TEXT NOT NULL,             -- the user
    given_at INTEGER NOT NULL,
    reason TEXT,
    until INTEGER,                      -- suspended: NULL is until resumed
    state TEXT,                         -- state: running or stopped
    definition TEXT,                    -- state: model::meaning of the definition it was given for
    instance TEXT,                      -- restart: the instance to replace
    PRIMARY KEY (name, kind)
);
INSERT INTO "herdsman_overrides" VALUES('a','suspended','ann',3,'new driver',9,NULL,NULL,NULL);
INSERT INTO "herdsman_overrides" VALUES('a','state','ann',3,NULL,NULL,'stopped','0123',NULL);
INSERT INTO "herdsman_overrides" VALUES('gone','restart','bob',4,NULL,NULL,NULL,NULL,'i-3');
CREATE TABLE models (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('running', 'stopped', 'loading', 'error')),
    model_path TEXT,
    model_url TEXT,
    docker_repo TEXT,
    hf_repo TEXT,
    hf_repo_draft TEXT,
    hf_file TEXT,
    hf_file_v TEXT,
    hf_token TEXT,
    ctx_size INTEGER DEFAULT 0,
    predict INTEGER DEFAULT -1,
    batch_size INTEGER DEFAULT 2048,
    ubatch_size INTEGER DEFAULT 512,
    n_parallel INTEGER DEFAULT -1,
    cont_batching INTEGER DEFAULT 0,
    threads INTEGER DEFAULT -1,
    threads_batch INTEGER,
    cpu_mask TEXT,
    cpu_range TEXT,
    cpu_strict INTEGER DEFAULT 0,
    cpu_mask_batch TEXT,
    cpu_range_batch TEXT,
    cpu_strict_batch INTEGER DEFAULT 0,
    priority INTEGER DEFAULT 0,
    priority_batch INTEGER,
    gpu_layers INTEGER DEFAULT -1,
    temperature REAL DEFAULT 0.8,
    top_k INTEGER DEFAULT 40,
    top_p REAL DEFAULT 0.9,
    chat_template TEXT,
    file_size_bytes INTEGER,
    fit_params_available INTEGER DEFAULT 0,
    last_fit_params_check INTEGER,
    parameters TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
INSERT INTO "models" VALUES(1,'a','llama','error','/w/m.gguf',NULL,NULL,NULL,NULL,NULL,NULL,NULL,8192,-1,2048,512,4,1,-1,NULL,NULL,NULL,0,NULL,NULL,0,2,NULL,-1,0.7,40,0.9,NULL,1234,0,NULL,'{"cont_batching":true,"ctx_size":8192,"gpu_layers":"auto","model":"/w/m.gguf","parallel":4,"prio":2,"rope_scale":1.5,"temperature":0.7}',1,2);
ALTER TABLE herdsman_generations ADD COLUMN git_dirty INTEGER;
ALTER TABLE herdsman_generations ADD COLUMN lines TEXT;
ALTER TABLE herdsman_events ADD COLUMN generation INTEGER;
ALTER TABLE herdsman_events ADD COLUMN git_commit TEXT;
ALTER TABLE herdsman_events ADD COLUMN git_dirty INTEGER;
CREATE INDEX idx_models_status ON models (status);
CREATE INDEX idx_models_type ON models (type);
CREATE INDEX idx_models_created ON models (created_at);
CREATE UNIQUE INDEX idx_models_name ON models (name);
CREATE INDEX herdsman_models_port ON herdsman_models (port);
CREATE INDEX herdsman_generations_ready ON herdsman_generations (name, number) WHERE outcome = 'ready';
CREATE INDEX herdsman_instances_name ON herdsman_instances (name);
CREATE INDEX herdsman_events_name ON herdsman_events (name, id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('models',1);
