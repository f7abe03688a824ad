-- Schema `dbos_host`: what only this host needs beside the tables that it shares with DBOS SDKs in schema `dbos`.
--
-- A migration that has been released is never edited: its checksum is recorded, and a host refuses a database whose
-- checksum is another one. A change is a new file.
--
-- No table here has a foreign key into schema `dbos`. It would put triggers on shared tables, and it was measured: 15
-- to 25 % of the rows per second of a batch that writes 100 digests. A DBOS client may delete a run without knowing
-- of these tables, so rows can outlive their run. That is harmless as long as their writers keep one rule: a row
-- that is found under the key is overwritten or deleted, never trusted, when a *new* record or run is written under the
-- same id.

DO $$
BEGIN
    -- Not `CREATE SCHEMA IF NOT EXISTS`: that asks for the right to create schemas even if there is nothing to
    -- create.
    IF to_regnamespace('dbos_host') IS NULL THEN
        CREATE SCHEMA dbos_host;
    END IF;
END
$$;

-- Guests' SQL runs in this database, so nothing here is for everybody.
REVOKE ALL ON SCHEMA dbos_host FROM PUBLIC;

-- The migrations of this schema, one row each. It is written by the transaction that applies the migration.
CREATE TABLE dbos_host.migration (
    version integer PRIMARY KEY CHECK (version > 0),
    checksum text NOT NULL CHECK (checksum ~ '^[0-9a-f]{64}$'),
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- The secret that workflows' random seeds are derived from, so that nobody can guess them from an id. It must never
-- change: a replay draws the same numbers again. The key can only be `true`, so there is at most one row.
CREATE TABLE dbos_host.secret (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    secret bytea NOT NULL CHECK (octet_length(secret) = 32)
);
-- A random UUID has 122 bits from the server's strong source; three of them fill the 256 bits of the digest.
INSERT INTO dbos_host.secret (secret)
VALUES (sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())));

-- Who runs workflows now: one row for each executor, the stable identity; `incarnation` is the process behind it. The
-- lease counts by this database's clock. When it is over, others may take the executor's runs.
CREATE TABLE dbos_host.executor (
    executor_id text PRIMARY KEY CHECK (executor_id <> ''),
    incarnation text NOT NULL CHECK (incarnation <> ''),
    lease_expires_at timestamptz NOT NULL,
    -- The machine, for people who look for the process.
    host text,
    started_at timestamptz NOT NULL DEFAULT now()
);

-- What a recorded operation was asked to do: eight bytes over its kind, name and arguments, so that a replay which
-- asks for something else is noticed. Written by the statement that writes the record in `dbos.operation_outputs`. A
-- record that another SDK wrote, or that was copied, has none.
CREATE TABLE dbos_host.operation_digest (
    workflow_uuid text NOT NULL,
    function_id integer NOT NULL CHECK (function_id > 0),
    digest bytea NOT NULL CHECK (octet_length(digest) = 8),
    PRIMARY KEY (workflow_uuid, function_id)
);

-- How many records a run had when its last attempt was counted. If it has more now, it has got further, and the count
-- in `dbos.workflow_status.recovery_attempts` begins anew.
CREATE TABLE dbos_host.attempt (
    workflow_uuid text PRIMARY KEY,
    records integer NOT NULL CHECK (records >= 0)
);

-- The components by the sha-256 of their bytes, kept as long as there is a run that was started by them.
CREATE TABLE dbos_host.component (
    digest text PRIMARY KEY CHECK (digest ~ '^[0-9a-f]{64}$'),
    bytes bytea NOT NULL,
    manifest jsonb NOT NULL CHECK (jsonb_typeof(manifest) = 'object'),
    created_at timestamptz NOT NULL DEFAULT now(),
    -- The name is the content: bytes that do not belong to it can never be stored under it.
    CHECK (digest = encode(sha256(bytes), 'hex'))
);
-- Components are megabytes that compress badly for what it costs, and they are always read whole.
ALTER TABLE dbos_host.component ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- The apps' own migrations, by app and file name.
CREATE TABLE dbos_host.app_migration (
    app text NOT NULL CHECK (app <> ''),
    name text NOT NULL CHECK (name <> ''),
    checksum text NOT NULL CHECK (checksum ~ '^[0-9a-f]{64}$'),
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (app, name)
);

-- Postgres gives the public nothing on new tables by itself, but a database's default privileges may. The role of an
-- app gets USAGE on this schema and EXECUTE on the one function that it needs; each migration that makes a function
-- must revoke it from the public, for functions are open by default.
REVOKE ALL ON ALL TABLES IN SCHEMA dbos_host FROM PUBLIC;
