-- The tables of pgxstore, version 1. A session without data is a tombstone; a
-- grant without an expiry never expires.
CREATE TABLE IF NOT EXISTS mxm_sessions (
    token  bytea PRIMARY KEY,
    data   bytea,
    expiry timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS mxm_sessions_expiry ON mxm_sessions (expiry);
CREATE TABLE IF NOT EXISTS mxm_grants (
    key     bytea PRIMARY KEY,
    data    bytea NOT NULL,
    version text NOT NULL,
    expiry  timestamptz
);
CREATE INDEX IF NOT EXISTS mxm_grants_expiry ON mxm_grants (expiry) WHERE expiry IS NOT NULL;
CREATE TABLE IF NOT EXISTS mxm_schema (
    id      integer PRIMARY KEY CHECK (id = 1),
    version integer NOT NULL
);
INSERT INTO mxm_schema (id, version) VALUES (1, 1) ON CONFLICT DO NOTHING;
