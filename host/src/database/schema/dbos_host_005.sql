-- When a component was last used: deployed, or served by a host, which says so every hour. Retention removes what has not
-- been used for long and has no runs. A table of its own, since a change of the component's row would check the digest of
-- its megabytes anew.
CREATE TABLE dbos_host.component_use (
    digest text PRIMARY KEY CHECK (digest ~ '^[0-9a-f]{64}$'),
    used_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO dbos_host.component_use (digest) SELECT digest FROM dbos_host.component;
REVOKE ALL ON TABLE dbos_host.component_use FROM PUBLIC;

-- Room in the pages of rows that are changed. Nothing of this is seen by a program that uses the tables, and what an
-- operator has set stays.
--
-- `dbos.workflow_status`: a take-over and an attempt change no column that is in an index, so their new version of the row
-- needs no entry in any of the indexes if it finds room in its page (a HOT update). Measured on PostgreSQL 15 with 100,000
-- unfinished rows of this host, taken over twice: bytes of WAL for each row the first and the second time, share of HOT
-- updates, and size of table and indexes afterwards:
--
--     fillfactor 100   1,579     895     0 %   154 MB
--                 80   1,398     665    34 %   150 MB
--                 70   1,298     490    55 %   138 MB
--                 50     730     290   100 %    95 MB
--
-- The end of a run changes `status` and `completed_at`, which are in indexes, and is never HOT; but its new version is
-- written shorter when it is in the page of the old one: a run with one step takes 2,702 bytes of WAL at 100, 2,644 at 80,
-- 2,606 at 70, 2,563 at 60. The price is room: a table of finished runs is larger by what is left free. 70 has most of the
-- gain for a third of the pages more; a host that is restarted often, with many sleepers, does better with 50.
--
-- `dbos_host.attempt`: a row is changed with each further attempt of its run, in no column of an index.
--
-- Left as the server has them, after a look: the thresholds of autovacuum. The index of what is PENDING keeps an entry for
-- each run that has ended since the last vacuum; 180,000 of them cost the first look after them 120 ms and the next one
-- 1 ms, for the server marks what it has found dead. A vacuum of a million runs takes two seconds of a processor, so
-- more of them would cost more than they give. The tables that are only inserted into are vacuumed for their inserts.
DO $$
DECLARE
    wanted record;
    relation record;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('dbos', 'workflow_status', 'fillfactor', '70'),
            ('dbos_host', 'attempt', 'fillfactor', '70')
        ) AS wanted(schema, name, parameter, value)
    LOOP
        SELECT c.reloptions AS options, pg_has_role(c.relowner, 'USAGE') AS is_own INTO relation
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = wanted.schema AND c.relname = wanted.name;
        -- A table that another role owns, because an SDK has made it, is left as it is; the host says so.
        IF relation.is_own AND NOT EXISTS (
            SELECT FROM unnest(relation.options) AS o WHERE starts_with(o, wanted.parameter || '=')
        ) THEN
            EXECUTE format('ALTER TABLE %I.%I SET (%s = %s)', wanted.schema, wanted.name, wanted.parameter, wanted.value);
        END IF;
    END LOOP;
END
$$;
