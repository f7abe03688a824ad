-- Schema `dbos` as every DBOS SDK knows it at migration 125, made in one go on a database that has none.
--
-- The schema is shared: SDKs in other languages and their consoles read and write these very tables. So nothing here
-- may be improved, not even a name or the order of columns; a test compares the catalog with one that an SDK has
-- made. What only this host needs is in schema `dbos_host`.
--
-- Times are epoch milliseconds by the database's clock, the time at which the transaction began.

-- A schema that an administrator has made beforehand is used as it is. This is no `CREATE SCHEMA IF NOT EXISTS`,
-- because that asks for the right to create schemas even if there is nothing to create.
DO $$
BEGIN
    IF to_regnamespace('dbos') IS NULL THEN
        CREATE SCHEMA dbos;
    END IF;
END
$$;

-- One row: the last migration. An SDK that was stopped before its first one leaves this table without a row.
CREATE TABLE IF NOT EXISTS dbos.dbos_migrations (
    version bigint NOT NULL PRIMARY KEY
);

-- One row for each run of a workflow. `request`, `output`, `error` and `inputs` are where older SDKs kept what is now
-- in `workflow_input` and `workflow_output`; they are read if there is no row there, and written no more.
CREATE TABLE dbos.workflow_status (
    workflow_uuid text NOT NULL PRIMARY KEY,
    status text,
    name text,
    authenticated_user text,
    assumed_role text,
    authenticated_roles text,
    request text,
    output text,
    error text,
    executor_id text,
    created_at bigint NOT NULL DEFAULT (extract(epoch FROM now()) * 1000.0)::bigint,
    updated_at bigint NOT NULL DEFAULT (extract(epoch FROM now()) * 1000.0)::bigint,
    application_version text,
    application_id text,
    class_name varchar(255) DEFAULT NULL,
    config_name varchar(255) DEFAULT NULL,
    recovery_attempts bigint DEFAULT 0,
    queue_name text,
    workflow_timeout_ms bigint,
    workflow_deadline_epoch_ms bigint,
    inputs text,
    started_at_epoch_ms bigint,
    deduplication_id text,
    priority integer NOT NULL DEFAULT 0,
    queue_partition_key text,
    forked_from text,
    owner_xid text,
    parent_workflow_id text,
    serialization text,
    delay_until_epoch_ms bigint,
    was_forked_from boolean NOT NULL DEFAULT false,
    rate_limited boolean NOT NULL DEFAULT false,
    completed_at bigint,
    attributes jsonb,
    schedule_name text,
    debounce_deadline_epoch_ms bigint,
    is_debounced boolean NOT NULL DEFAULT false,
    application_name text,
    creator_xid text
);

CREATE INDEX workflow_status_created_at_index ON dbos.workflow_status (created_at);
CREATE INDEX idx_workflow_status_pending ON dbos.workflow_status (created_at) WHERE status = 'PENDING';
CREATE INDEX idx_workflow_status_failed ON dbos.workflow_status (status, created_at)
    WHERE status IN ('ERROR', 'CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED');
CREATE INDEX idx_workflow_status_completed_at ON dbos.workflow_status (completed_at) WHERE completed_at IS NOT NULL;
CREATE INDEX idx_workflow_status_started_at ON dbos.workflow_status (started_at_epoch_ms)
    WHERE started_at_epoch_ms IS NOT NULL;
CREATE INDEX idx_workflow_status_deadline ON dbos.workflow_status (workflow_deadline_epoch_ms)
    WHERE status IN ('ENQUEUED', 'PENDING', 'DELAYED') AND workflow_deadline_epoch_ms IS NOT NULL;
CREATE INDEX idx_workflow_status_forked_from ON dbos.workflow_status (forked_from) WHERE forked_from IS NOT NULL;
CREATE INDEX idx_workflow_status_parent_workflow_id ON dbos.workflow_status (parent_workflow_id)
    WHERE parent_workflow_id IS NOT NULL;
CREATE INDEX idx_workflow_status_schedule_name ON dbos.workflow_status (schedule_name) WHERE schedule_name IS NOT NULL;
CREATE INDEX idx_workflow_status_attributes ON dbos.workflow_status USING gin (attributes) WHERE attributes IS NOT NULL;

-- Queues: what to start next, what is due, and who holds a deduplication key.
CREATE INDEX idx_workflow_status_in_flight_v2 ON dbos.workflow_status (queue_name, status, priority, created_at)
    INCLUDE (application_name) WHERE status IN ('ENQUEUED', 'PENDING');
CREATE INDEX idx_workflow_status_partition_dequeue_v3
    ON dbos.workflow_status (queue_name, status, queue_partition_key, priority, created_at, workflow_uuid)
    INCLUDE (application_name) WHERE status IN ('ENQUEUED', 'PENDING') AND queue_partition_key IS NOT NULL;
CREATE INDEX idx_workflow_status_delayed ON dbos.workflow_status (delay_until_epoch_ms) WHERE status = 'DELAYED';
CREATE INDEX idx_workflow_status_rate_limited ON dbos.workflow_status (queue_name, started_at_epoch_ms)
    WHERE rate_limited = true;
CREATE UNIQUE INDEX uq_workflow_status_dedup_id ON dbos.workflow_status (queue_name, deduplication_id)
    WHERE deduplication_id IS NOT NULL;

-- A run's payloads and records carry no foreign key: who deletes a run deletes them too.
CREATE TABLE dbos.workflow_input (
    workflow_uuid text NOT NULL PRIMARY KEY,
    inputs text,
    retention_timestamp bigint NOT NULL DEFAULT (extract(epoch FROM now()) * 1000.0)::bigint
);
CREATE INDEX idx_workflow_input_retention ON dbos.workflow_input (retention_timestamp);

CREATE TABLE dbos.workflow_output (
    workflow_uuid text NOT NULL PRIMARY KEY,
    output text,
    error text,
    retention_timestamp bigint NOT NULL DEFAULT (extract(epoch FROM now()) * 1000.0)::bigint
);
CREATE INDEX idx_workflow_output_retention ON dbos.workflow_output (retention_timestamp);

-- One row for each recorded operation of a run.
CREATE TABLE dbos.operation_outputs (
    workflow_uuid text NOT NULL,
    function_id integer NOT NULL,
    function_name text NOT NULL DEFAULT '',
    output text,
    error text,
    child_workflow_id text,
    started_at_epoch_ms bigint,
    completed_at_epoch_ms bigint,
    serialization text,
    application_name text,
    retention_timestamp bigint NOT NULL DEFAULT (extract(epoch FROM now()) * 1000.0)::bigint,
    PRIMARY KEY (workflow_uuid, function_id)
);
CREATE INDEX idx_operation_outputs_completed_at_function_name_v2
    ON dbos.operation_outputs (completed_at_epoch_ms, function_name) INCLUDE (application_name);
CREATE INDEX idx_operation_outputs_retention ON dbos.operation_outputs (retention_timestamp);

-- Messages to runs. No topic is stored as the topic `__null__topic__`.
CREATE TABLE dbos.notifications (
    message_uuid text NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    destination_uuid text NOT NULL REFERENCES dbos.workflow_status (workflow_uuid) ON UPDATE CASCADE ON DELETE CASCADE,
    topic text,
    message text NOT NULL,
    created_at_epoch_ms bigint NOT NULL DEFAULT (extract(epoch FROM now()) * 1000.0)::bigint,
    serialization text,
    consumed boolean NOT NULL DEFAULT false,
    consumed_by_function_id integer
);
CREATE INDEX idx_workflow_topic ON dbos.notifications (destination_uuid, topic);

-- Events: the latest value of each key, and every value by the operation that set it, for forks.
CREATE TABLE dbos.workflow_events (
    workflow_uuid text NOT NULL REFERENCES dbos.workflow_status (workflow_uuid) ON UPDATE CASCADE ON DELETE CASCADE,
    key text NOT NULL,
    value text NOT NULL,
    serialization text,
    PRIMARY KEY (workflow_uuid, key)
);

CREATE TABLE dbos.workflow_events_history (
    workflow_uuid text NOT NULL REFERENCES dbos.workflow_status (workflow_uuid) ON UPDATE CASCADE ON DELETE CASCADE,
    function_id integer NOT NULL,
    key text NOT NULL,
    value text NOT NULL,
    serialization text,
    PRIMARY KEY (workflow_uuid, function_id, key)
);

CREATE TABLE dbos.streams (
    workflow_uuid text NOT NULL REFERENCES dbos.workflow_status (workflow_uuid) ON UPDATE CASCADE ON DELETE CASCADE,
    key text NOT NULL,
    value text NOT NULL,
    "offset" integer NOT NULL,
    function_id integer NOT NULL DEFAULT 0,
    serialization text,
    PRIMARY KEY (workflow_uuid, key, "offset")
);

CREATE TABLE dbos.workflow_schedules (
    schedule_id text NOT NULL PRIMARY KEY,
    schedule_name text NOT NULL UNIQUE,
    workflow_name text NOT NULL,
    workflow_class_name text,
    schedule text NOT NULL,
    status text NOT NULL DEFAULT 'ACTIVE',
    context text NOT NULL,
    last_fired_at text,
    automatic_backfill boolean NOT NULL DEFAULT false,
    cron_timezone text,
    queue_name text,
    application_name text
);

-- Versions of the applications; an application's latest is the one with the greatest `version_timestamp`. A version's
-- name is unique twice: for each owner, as newer SDKs want it, and over all owners, as older ones made it.
CREATE TABLE dbos.application_versions (
    version_id text NOT NULL PRIMARY KEY,
    version_name text NOT NULL UNIQUE,
    version_timestamp bigint NOT NULL DEFAULT (extract(epoch FROM now()) * 1000.0)::bigint,
    created_at bigint NOT NULL DEFAULT (extract(epoch FROM now()) * 1000.0)::bigint,
    application_name text
);
CREATE INDEX idx_application_versions_timestamp ON dbos.application_versions (version_timestamp DESC);
CREATE INDEX idx_application_versions_owner_timestamp
    ON dbos.application_versions (application_name, version_timestamp DESC);
CREATE UNIQUE INDEX uq_application_versions_owner_version ON dbos.application_versions (application_name, version_name)
    WHERE application_name IS NOT NULL;
CREATE UNIQUE INDEX uq_application_versions_unclaimed_version ON dbos.application_versions (version_name)
    WHERE application_name IS NULL;

CREATE TABLE dbos.queues (
    queue_id text NOT NULL DEFAULT gen_random_uuid()::text PRIMARY KEY,
    name text NOT NULL UNIQUE,
    concurrency integer,
    worker_concurrency integer,
    rate_limit_max integer,
    rate_limit_period_sec double precision,
    priority_enabled boolean NOT NULL DEFAULT false,
    partition_queue boolean NOT NULL DEFAULT false,
    polling_interval_sec double precision NOT NULL DEFAULT 1.0,
    created_at bigint NOT NULL DEFAULT (extract(epoch FROM now()) * 1000.0)::bigint,
    updated_at bigint NOT NULL DEFAULT (extract(epoch FROM now()) * 1000.0)::bigint,
    application_name text,
    partition_concurrency integer,
    partition_worker_concurrency integer,
    partition_rate_limit_max integer,
    partition_rate_limit_period_sec double precision
);

-- Cursors of event receivers that SDKs no longer have.
CREATE TABLE dbos.event_dispatch_kv (
    service_name text NOT NULL,
    workflow_fn_name text NOT NULL,
    key text NOT NULL,
    value text,
    update_seq numeric(38, 0),
    update_time numeric(38, 15),
    PRIMARY KEY (service_name, workflow_fn_name, key)
);

-- Wakes the processes that wait for a message.
CREATE FUNCTION dbos.notifications_function() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_notify('dbos_notifications_channel', NEW.destination_uuid || '::' || NEW.topic);
    RETURN NEW;
END
$$;

CREATE TRIGGER dbos_notifications_trigger
AFTER INSERT ON dbos.notifications
FOR EACH ROW EXECUTE FUNCTION dbos.notifications_function();

-- Starts a run for a caller that has SQL and no SDK. A run that exists under the id keeps its first input and is only
-- touched. The caller learns of a taken deduplication key by a unique violation with this message.
CREATE FUNCTION dbos.enqueue_workflow(
    workflow_name text,
    queue_name text,
    positional_args json[] DEFAULT ARRAY[]::json[],
    named_args json DEFAULT '{}'::json,
    class_name text DEFAULT NULL,
    config_name text DEFAULT NULL,
    workflow_id text DEFAULT NULL,
    app_version text DEFAULT NULL,
    timeout_ms bigint DEFAULT NULL,
    deadline_epoch_ms bigint DEFAULT NULL,
    deduplication_id text DEFAULT NULL,
    priority integer DEFAULT NULL,
    queue_partition_key text DEFAULT NULL,
    authenticated_user text DEFAULT NULL,
    authenticated_roles text DEFAULT NULL,
    delay_until_epoch_ms bigint DEFAULT NULL,
    application_name text DEFAULT NULL
) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    run_id CONSTANT text := coalesce(workflow_id, gen_random_uuid()::text);
    started_at CONSTANT bigint := extract(epoch FROM now()) * 1000;
BEGIN
    IF coalesce(workflow_name, '') = '' THEN
        RAISE EXCEPTION 'the workflow name must not be empty';
    ELSIF coalesce(queue_name, '') = '' THEN
        RAISE EXCEPTION 'the queue name must not be empty';
    ELSIF jsonb_typeof(named_args::jsonb) <> 'object' THEN
        RAISE EXCEPTION 'the named arguments must be a JSON object';
    ELSIF workflow_id = '' THEN
        RAISE EXCEPTION 'a workflow id must not be empty';
    ELSIF delay_until_epoch_ms < 0 THEN
        RAISE EXCEPTION 'delay_until_epoch_ms must not be negative';
    END IF;

    INSERT INTO dbos.workflow_status (
        workflow_uuid, name, class_name, config_name, status, serialization,
        queue_name, queue_partition_key, deduplication_id, priority, delay_until_epoch_ms,
        application_name, application_version, authenticated_user, authenticated_roles,
        workflow_timeout_ms, workflow_deadline_epoch_ms,
        recovery_attempts, owner_xid, created_at, updated_at
    ) VALUES (
        run_id, workflow_name, class_name, config_name,
        CASE WHEN delay_until_epoch_ms IS NULL THEN 'ENQUEUED' ELSE 'DELAYED' END, 'portable_json',
        queue_name, queue_partition_key, deduplication_id, coalesce(priority, 0), delay_until_epoch_ms,
        application_name, app_version, authenticated_user, authenticated_roles,
        timeout_ms, deadline_epoch_ms,
        0, gen_random_uuid()::text, started_at, started_at
    )
    ON CONFLICT (workflow_uuid) DO UPDATE SET updated_at = excluded.updated_at;

    INSERT INTO dbos.workflow_input (workflow_uuid, inputs, retention_timestamp)
    VALUES (
        run_id,
        json_build_object('positionalArgs', positional_args, 'namedArgs', named_args)::text,
        started_at
    )
    ON CONFLICT (workflow_uuid) DO NOTHING;

    RETURN run_id;
EXCEPTION
    WHEN unique_violation THEN
        RAISE EXCEPTION 'DBOS queue duplicated' USING
            ERRCODE = 'unique_violation',
            DETAIL = format(
                'queue %s already has a workflow with deduplication id %s, so %s is not started',
                queue_name, deduplication_id, run_id
            );
END
$$;

-- Sends a message for a caller that has SQL and no SDK. The same message id is the same message, sent once.
CREATE FUNCTION dbos.send_message(
    destination_id text,
    message json,
    topic text DEFAULT NULL,
    message_id text DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO dbos.notifications (message_uuid, destination_uuid, topic, message, serialization)
    VALUES (
        coalesce(message_id, gen_random_uuid()::text),
        destination_id,
        coalesce(topic, '__null__topic__'),
        message,
        'portable_json'
    )
    ON CONFLICT (message_uuid) DO NOTHING;
EXCEPTION
    WHEN foreign_key_violation THEN
        RAISE EXCEPTION 'DBOS non-existent workflow' USING
            ERRCODE = 'foreign_key_violation',
            DETAIL = format('there is no workflow %s to send to', destination_id);
END
$$;

INSERT INTO dbos.dbos_migrations (version) VALUES (125);
