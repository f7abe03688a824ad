-- When a component was last used: deployed, or served by a host, which says so every hour. Retention removes what has not
-- been used for long and has no runs. A table of its own, since a change of the component's row would check the digest of
-- its megabytes anew.
CREATE TABLE dbos_host.component_use (
    digest text PRIMARY KEY CHECK (digest ~ '^[0-9a-f]{64}$'),
    used_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO dbos_host.component_use (digest) SELECT digest FROM dbos_host.component;
REVOKE ALL ON TABLE dbos_host.component_use FROM PUBLIC;
