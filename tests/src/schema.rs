//! Schema `dbos` of a database as sorted text, so that a test can say "the schema that this host creates is the one
//! that an SDK creates" by comparing two strings, and show the lines that differ when it is not.
//!
//! The catalog tells everything except what a function does: its body is each author's own. So [`exercise`] calls the
//! functions and shows what they leave in the tables.

use tokio_postgres::{Client, Error, Transaction};

/// One query for each kind of thing, with one line of text in each row.
const CATALOG: &[(&str, &str)] = &[
    ("migration", "SELECT version::text FROM dbos.dbos_migrations"),
    // Without storage parameters, which are for the one who operates the database, and without the index that this host adds, by
    // whose name everybody sees that it is no SDK's.
    (
        "relation",
        "SELECT format('%s kind %s persistence %s', relname, relkind, relpersistence)
         FROM pg_class WHERE relnamespace = 'dbos'::regnamespace AND NOT starts_with(relname, 'dbos_host_')",
    ),
    // Numbered anew, because a column that was dropped long ago leaves a gap in the catalog's own numbers.
    (
        "column",
        "SELECT format('%s %s %s %s length %s precision %s,%s nullable %s default %s generated %s identity %s',
                       table_name, row_number() OVER (PARTITION BY table_name ORDER BY ordinal_position), column_name,
                       data_type, character_maximum_length, numeric_precision, numeric_scale, is_nullable,
                       column_default, is_generated, is_identity)
         FROM information_schema.columns WHERE table_schema = 'dbos'",
    ),
    (
        "constraint",
        "SELECT format('%s %s %s validated %s', conrelid::regclass, conname, pg_get_constraintdef(oid), convalidated)
         FROM pg_constraint WHERE connamespace = 'dbos'::regnamespace",
    ),
    (
        "index",
        "SELECT format('%s valid %s', indexdef, indisvalid)
         FROM pg_indexes JOIN pg_index ON indexrelid = format('%I.%I', schemaname, indexname)::regclass
         WHERE schemaname = 'dbos' AND NOT starts_with(indexname, 'dbos_host_')",
    ),
    (
        "trigger",
        "SELECT format('%s enabled %s', pg_get_triggerdef(pg_trigger.oid), tgenabled)
         FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
         WHERE relnamespace = 'dbos'::regnamespace AND NOT tgisinternal",
    ),
    (
        "function",
        "SELECT format('%s(%s) returns %s language %s kind %s volatility %s strict %s definer %s settings %s', proname,
                       pg_get_function_arguments(pg_proc.oid), pg_get_function_result(pg_proc.oid), lanname, prokind,
                       provolatile, proisstrict, prosecdef, proconfig)
         FROM pg_proc JOIN pg_language ON pg_language.oid = prolang WHERE pronamespace = 'dbos'::regnamespace",
    ),
    (
        "public right",
        "SELECT format('schema usage %s create %s', has_schema_privilege('public', 'dbos', 'USAGE'),
                       has_schema_privilege('public', 'dbos', 'CREATE'))
         UNION ALL
         SELECT format('%s any %s', relname, has_table_privilege('public', oid, 'SELECT, INSERT, UPDATE, DELETE'))
         FROM pg_class WHERE relnamespace = 'dbos'::regnamespace AND relkind = 'r'",
    ),
];

/// Everything that the catalog says about schema `dbos`: one sorted line for each thing.
///
/// # Errors
/// If a query fails, for instance because there is no such schema.
pub async fn describe(client: &Client) -> Result<String, Error> {
    let mut lines = Vec::new();
    for (kind, query) in CATALOG {
        for row in client.query(*query, &[]).await? {
            lines.push(format!("{kind}: {}\n", row.get::<_, &str>(0)));
        }
    }
    lines.sort();
    Ok(lines.concat())
}

/// Calls of the functions that callers without an SDK use: all arguments, none but the needed, the same id again, a
/// taken deduplication key, and each argument that is refused.
const CALLS: &[&str] = &[
    "SELECT dbos.enqueue_workflow('w', 'q', ARRAY['1', '{\"a\":null}']::json[], '{\"n\": [1, 2]}', 'class', 'config',
         'all', 'version', 10, 20, 'dedup', 3, 'partition', 'user', '[\"role\"]', 30, 'app')",
    "SELECT dbos.enqueue_workflow('w', 'q', workflow_id => 'few')",
    "SELECT dbos.enqueue_workflow('w', 'q', NULL, NULL, workflow_id => 'nulls')",
    "SELECT dbos.enqueue_workflow('other', 'q2', ARRAY['2']::json[], workflow_id => 'few', priority => 9)",
    "SELECT dbos.enqueue_workflow('w', 'q', workflow_id => 'second', deduplication_id => 'dedup')",
    "SELECT length(dbos.enqueue_workflow('w', 'q'))::text",
    "SELECT dbos.enqueue_workflow('', 'q')",
    "SELECT dbos.enqueue_workflow('w', NULL)",
    "SELECT dbos.enqueue_workflow('w', 'q', named_args => '[]')",
    "SELECT dbos.enqueue_workflow('w', 'q', workflow_id => '')",
    "SELECT dbos.enqueue_workflow('w', 'q', delay_until_epoch_ms => -1)",
    "SELECT dbos.send_message('few', '{\"a\":  1}', 'topic', 'first')::text",
    "SELECT dbos.send_message('few', '2', 'topic', 'first')::text",
    "SELECT dbos.send_message('few', 'null', NULL, 'no topic')::text",
    "SELECT dbos.send_message('few', '3')::text",
    "SELECT dbos.send_message('nobody', '1')::text",
    "SELECT dbos.send_message('few', NULL)::text",
];

/// The tables that the calls write, with what differs from one database to the next: it is only shown whether it is
/// set.
const WRITTEN: &[(&str, &[&str])] = &[
    ("workflow_status", &["created_at", "updated_at", "owner_xid"]),
    ("workflow_input", &["retention_timestamp"]),
    ("notifications", &["created_at_epoch_ms"]),
];

/// Calls the SQL functions of schema `dbos` and shows what they answer and what they write; leaves the database as it
/// was. Of an error its code is shown; its words are each author's own.
///
/// # Errors
/// If something else than a call fails.
pub async fn exercise(client: &mut Client) -> Result<String, Error> {
    let mut transaction = client.transaction().await?;
    let mut lines = Vec::new();
    for call in CALLS {
        let savepoint = transaction.savepoint("call").await?;
        let answer = match savepoint.query_one(*call, &[]).await {
            Ok(row) => {
                savepoint.commit().await?;
                row.get::<_, Option<String>>(0).unwrap_or_else(|| "NULL".into())
            }
            Err(error) => {
                savepoint.rollback().await?;
                error.code().map_or_else(|| error.to_string(), |code| format!("error {}", code.code()))
            }
        };
        lines.push(format!("{call}: {answer}\n"));
    }
    for (table, masked) in WRITTEN {
        lines.extend(rows_of(&transaction, table, masked).await?);
    }
    transaction.rollback().await?;
    Ok(lines.concat())
}

/// The rows of a table as sorted lines of JSON. Ids that the database made up are masked by their shape.
async fn rows_of(transaction: &Transaction<'_>, table: &str, masked: &[&str]) -> Result<Vec<String>, Error> {
    let query = format!(
        "SELECT regexp_replace(
             (to_jsonb(t)
                 || (SELECT jsonb_object_agg(key, to_jsonb(t) -> key <> 'null') FROM unnest($1::text[]) AS key))::text,
             '[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}', '<uuid>', 'g')
         FROM dbos.{table} AS t ORDER BY 1"
    );
    let rows = transaction.query(&query, &[&masked]).await?;
    Ok(rows.iter().map(|row| format!("{table}: {}\n", row.get::<_, &str>(0))).collect())
}
