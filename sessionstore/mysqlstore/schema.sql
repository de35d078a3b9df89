-- The tables of mysqlstore, version 1. A session without data is a tombstone; a
-- grant without an expiry never expires. Times are UTC.
CREATE TABLE IF NOT EXISTS mxm_sessions (
    token  varbinary(255) NOT NULL PRIMARY KEY,
    data   mediumblob,
    expiry datetime(6) NOT NULL,
    KEY mxm_sessions_expiry (expiry)
) ENGINE = InnoDB;
CREATE TABLE IF NOT EXISTS mxm_grants (
    grant_key varbinary(255) NOT NULL PRIMARY KEY,
    data      mediumblob NOT NULL,
    version   varbinary(255) NOT NULL,
    expiry    datetime(6),
    KEY mxm_grants_expiry (expiry)
) ENGINE = InnoDB;
CREATE TABLE IF NOT EXISTS mxm_schema (
    id      integer NOT NULL PRIMARY KEY CHECK (id = 1),
    version integer NOT NULL
) ENGINE = InnoDB;
INSERT IGNORE INTO mxm_schema (id, version) VALUES (1, 1);
