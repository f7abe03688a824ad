-- A record that comes by itself, as most do on a host with little to do: nobody shares its commit, so what counts is how long
-- the server takes for it. The statement for many records takes 0.36 ms of a server that has nothing else to do, most of it
-- for the joins of its arrays; this function takes 0.29, and a commit of one row 0.19.
--
-- It does what that statement does: locks the run's row, compares owner and status, and writes the record with its digest. The
-- row is looked for by its key alone and compared afterwards, as there. False: this host does not own the run. A key that is
-- there already is an error (23505).
--
-- It has the rights of its caller: whoever may write to these tables may call it, and guests may not write to them.

CREATE FUNCTION dbos_host.write_record(
    p_workflow_uuid text,
    p_owner text,
    p_function_id integer,
    p_function_name text,
    p_output text,
    p_error text,
    p_child_workflow_id text,
    p_started_at bigint,
    p_completed_at bigint,
    p_application_name text,
    p_digest bytea
) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
DECLARE
    v_owner text;
    v_status text;
BEGIN
    SELECT owner_xid, status INTO v_owner, v_status FROM dbos.workflow_status
      WHERE workflow_uuid = p_workflow_uuid
      FOR NO KEY UPDATE;
    IF v_status IS DISTINCT FROM 'PENDING' OR v_owner IS DISTINCT FROM p_owner THEN
        RETURN false;
    END IF;
    INSERT INTO dbos.operation_outputs
        (workflow_uuid, function_id, function_name, output, error, child_workflow_id, started_at_epoch_ms,
         completed_at_epoch_ms, serialization, application_name)
      VALUES (p_workflow_uuid, p_function_id, p_function_name, p_output, p_error, p_child_workflow_id, p_started_at,
              p_completed_at, CASE WHEN p_output IS NOT NULL OR p_error IS NOT NULL THEN 'portable_json' END,
              p_application_name);
    IF p_digest IS NOT NULL THEN
        INSERT INTO dbos_host.operation_digest (workflow_uuid, function_id, digest)
          VALUES (p_workflow_uuid, p_function_id, p_digest);
    END IF;
    RETURN true;
END
$$;
