CREATE TABLE models (id INTEGER PRIMARY KEY, name, type, status, parameters, ctx_size, temperature, created_at, updated_at, "Odd ""Name" BLOB);
INSERT INTO models VALUES (1, CAST(x'ff41' AS TEXT), x'00', 'paused', '[', 'many', 9e999, 'today', 1.5, zeroblob(100));
INSERT INTO models VALUES (9223372036854775807, x'6100', NULL, 7, '{"a":{"a":[1e400]}}', -9223372036854775808, 'warm', NULL, NULL, NULL);
INSERT INTO models (name, type, parameters) VALUES ('a', 'mistrall', '{"ctx_size": null}'), ('a' || char(0) || 'b', 3, 4);
