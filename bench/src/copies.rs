//! Many runs out of one that the host has written.
//!
//! A hundred thousand sleeping runs, or a million finished ones, would take the host minutes to make, which no round has.
//! Rows that the bench made up by itself would be honest only until the host writes others. So one run is made by the
//! host, and whatever stands about it in any table is copied under other ids: in each table of the host's two schemas
//! that has a column for the run's id, whichever columns there are.
//!
//! The ids are time-ordered, as the host's own are, and come into the indexes in that order.
//!
//! This module must not know what the runs are for.

use anyhow::{Result, ensure};

use crate::place::Place;

/// The id of the n-th copy: the form of a UUIDv7, whose time counts the copies.
const ID: &str = "(
    SELECT substr(h, 1, 8) || '-' || substr(h, 9, 4) || '-7' || substr(h, 14, 3) || '-a' || substr(h, 18, 3) || '-'
           || substr(h, 21, 12)
      FROM (SELECT lpad(to_hex(1700000000000 + n), 12, '0') || md5(n::text)) AS text (h)
)";

/// The sleep behind a history, in the copies and in what they are made of.
const SLEEP: &str = "DBOS.sleep";

impl Place<'_> {
    /// Makes copies of a run until there are `count` more of it than `from`.
    pub(crate) async fn copy_run(&self, run: &str, from: u32, count: u32) {
        for table in self.tables_with("workflow_uuid").await {
            self.database
                .execute(&format!(
                    "INSERT INTO {table}
                     SELECT copy.* FROM {table} AS original CROSS JOIN generate_series({from} + 1, {from} + {count}) AS n
                            CROSS JOIN LATERAL
                            jsonb_populate_record(original, jsonb_build_object('workflow_uuid', {ID})) AS copy
                      WHERE original.workflow_uuid = '{run}' ORDER BY n"
                ))
                .await;
        }
    }

    /// Makes a longer history of a run that has made one step and sleeps: `steps` times that step, then the sleep.
    pub(crate) async fn lengthen(&self, run: &str, steps: u32) -> Result<()> {
        let inputs = format!(
            "UPDATE dbos.workflow_input SET inputs = replace(inputs, '\"steps\":1', '\"steps\":{steps}')
              WHERE workflow_uuid = '{run}' AND inputs LIKE '%\"steps\":1%' RETURNING inputs"
        );
        ensure!(self.database.execute(&inputs).await == 1, "find the number of steps in the arguments of a run");
        let last = i64::from(steps) + 1;
        for table in self.tables_with("function_id").await {
            self.database
                .execute(&format!(
                    "UPDATE {table} SET function_id = {last} WHERE workflow_uuid = '{run}' AND function_id = 2"
                ))
                .await;
            self.database
                .execute(&format!(
                    "INSERT INTO {table}
                     SELECT copy.* FROM {table} AS original CROSS JOIN generate_series(2, {steps}) AS n CROSS JOIN LATERAL
                            jsonb_populate_record(original, jsonb_build_object('function_id', n)) AS copy
                      WHERE original.workflow_uuid = '{run}' AND original.function_id = 1"
                ))
                .await;
        }
        Ok(())
    }

    /// Makes all sleeps due.
    pub(crate) async fn wake(&self) {
        let wake =
            "UPDATE dbos.operation_outputs SET output = '1', completed_at_epoch_ms = 1000 WHERE function_name = $1";
        self.database.query(wake, &[&SLEEP]).await;
    }

    /// True when this many runs have recorded a sleep.
    pub(crate) async fn sleepers(&self) -> i64 {
        let sql = "SELECT count(*) FROM dbos.operation_outputs WHERE function_name = $1";
        self.database.count(sql, &[&SLEEP]).await
    }

    /// What a server does by itself in the minutes that so many rows would otherwise have taken.
    pub(crate) async fn settle(&self) {
        self.database.execute("VACUUM ANALYZE").await;
        self.database.execute("CHECKPOINT").await;
    }

    /// The tables of the host's schemas that have this column beside the run's id.
    async fn tables_with(&self, column: &str) -> Vec<String> {
        let sql = "SELECT format('%I.%I', c.table_schema, c.table_name) FROM information_schema.columns c
                     JOIN information_schema.tables t USING (table_schema, table_name)
                    WHERE c.table_schema IN ('dbos', 'dbos_host') AND t.table_type = 'BASE TABLE'
                      AND c.column_name = $1
                      AND EXISTS (SELECT FROM information_schema.columns o WHERE o.table_schema = c.table_schema
                                     AND o.table_name = c.table_name AND o.column_name = 'workflow_uuid')
                    ORDER BY 1";
        self.database.query(sql, &[&column]).await.iter().map(|row| row.get(0)).collect()
    }
}
