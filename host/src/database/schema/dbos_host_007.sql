-- What a fork repeats of the run that it was copied from, beside the records: the start of its workflow time, and what was
-- drawn up to the last copied step.
--
-- A fork of a fork has several runs before it: `seeds_of[i]` is drawn from up to the step `last_steps[i]`, in this order, and
-- the run's own seed after the last of them. Nothing is drawn again of a run of which no step was copied.
--
-- A row counts for the run that it was written for, which `forked_from` and `created_at` tell from another one of the same
-- id. What they were never changes, so neither does the row.
CREATE TABLE dbos_host.origin (
    workflow_uuid text PRIMARY KEY,
    forked_from text NOT NULL,
    created_at bigint NOT NULL,
    started_at bigint NOT NULL,
    last_steps integer[] NOT NULL,
    seeds_of text[] NOT NULL CHECK (cardinality(seeds_of) = cardinality(last_steps))
);
REVOKE ALL ON TABLE dbos_host.origin FROM PUBLIC;

-- The row of a fork with so many copied steps. It is made from its origin's, which knows what that one has repeated itself.
--
-- A DBOS client forks without such a row, and a host writes it when it takes the fork. A fork of a fork that no host has taken
-- yet finds none, so it is asked for here, over as many forks as there are. Their number has a bound, so that rows which
-- name each other as their origin, some program's mistake, do no harm: who forks a fork a hundred times before the first of
-- them has run may find that it draws something else.
CREATE FUNCTION dbos_host.origin_of(
    p_workflow_uuid text,
    p_forked_from text,
    p_created_at bigint,
    p_copied integer,
    p_line integer DEFAULT 0
) RETURNS dbos_host.origin
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog
AS $$
DECLARE
    v_origin record;
    v_before dbos_host.origin;
    v_whole integer;
BEGIN
    IF p_copied = 0 OR p_line >= 100 THEN
        RETURN ROW(p_workflow_uuid, p_forked_from, p_created_at, p_created_at, '{}'::integer[], '{}'::text[])::dbos_host.origin;
    END IF;
    SELECT s.forked_from, s.created_at INTO v_origin FROM dbos.workflow_status s WHERE s.workflow_uuid = p_forked_from;
    IF v_origin.forked_from IS NOT NULL THEN
        SELECT o.* INTO v_before FROM dbos_host.origin o
         WHERE o.workflow_uuid = p_forked_from AND o.forked_from = v_origin.forked_from
           AND o.created_at = v_origin.created_at;
        IF NOT FOUND THEN
            v_before := dbos_host.origin_of(
                p_forked_from, v_origin.forked_from, v_origin.created_at,
                (SELECT coalesce(max(function_id), 0) FROM dbos.operation_outputs WHERE workflow_uuid = p_forked_from),
                p_line + 1);
        END IF;
    END IF;
    -- The seeds that count to their end for this fork too, and the one in which it was cut.
    v_whole := (SELECT count(*) FROM unnest(v_before.last_steps) AS l (step) WHERE l.step < p_copied);
    RETURN ROW(
        p_workflow_uuid, p_forked_from, p_created_at,
        coalesce(v_before.started_at, v_origin.created_at, p_created_at),
        coalesce(v_before.last_steps[1:v_whole], '{}') || p_copied,
        coalesce(v_before.seeds_of[1:v_whole], '{}') || coalesce(v_before.seeds_of[v_whole + 1], p_forked_from)
    )::dbos_host.origin;
END
$$;

REVOKE ALL ON FUNCTION dbos_host.origin_of(text, text, bigint, integer, integer) FROM PUBLIC;
