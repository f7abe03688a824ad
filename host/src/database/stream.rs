//! Reading the streams of runs, whoever has written them.
//!
//! Values and the state of their run come from one snapshot. The outcome of a run is written behind its values, so a run that
//! has ended has no more of them than are seen with its end.

use super::error::DatabaseError;
use super::history::result;
use crate::workflow::{CLOSED, Key, Offset, Status, StreamPage, Then, WorkflowId};

/// Values in one page: as many as SDKs of DBOS read at once.
const PAGE: usize = 100;

/// The size of their texts together, in bytes; the first one comes in any case. Each reader holds a page and its text in memory,
/// so a thousand slow ones hold half a gigabyte.
const PAGE_BYTES: usize = 256 * 1024;

// Sizes are asked for without reading the values. Each row has the status, and a run without values has one row.
const PAGE_OF_STREAM: &str = "
SELECT r.status, v.\"offset\", v.value, v.serialization
  FROM dbos.workflow_status r
  LEFT JOIN LATERAL (
      SELECT * FROM (
          SELECT s.\"offset\", s.value, s.serialization,
                 sum(octet_length(s.value)) OVER (ORDER BY s.\"offset\") - octet_length(s.value) AS bytes_before
            FROM dbos.streams s
           WHERE s.workflow_uuid = r.workflow_uuid AND s.key = $2 AND s.\"offset\" >= $3
             AND s.\"offset\" < $3::int4::int8 + $4::int4
      ) sized WHERE bytes_before <= $5::int8
  ) v ON true
 WHERE r.workflow_uuid = $1
 ORDER BY v.\"offset\"";

impl super::Database {
    /// What a stream has from an offset on, as much as a page can have. `None`: there is no such run.
    ///
    /// # Errors
    /// When the database does not answer; the caller tries again.
    pub async fn stream(&self, run: &WorkflowId, key: &Key, from: Offset) -> Result<Option<StreamPage>, DatabaseError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(PAGE_OF_STREAM).await?;
        let (page, bytes) = (i32::try_from(PAGE).unwrap_or(i32::MAX), i64::try_from(PAGE_BYTES).unwrap_or(i64::MAX));
        let rows = client.query(&statement, &[&run.as_str(), &key.as_str(), &from.get(), &page, &bytes]).await?;
        let Some(first) = rows.first() else { return Ok(None) };
        let status = first.get::<_, Option<&str>>(0).and_then(|text| text.parse::<Status>().ok());
        let (mut values, mut bytes) = (Vec::new(), 0);
        for row in &rows {
            // A hole may be filled later: what is behind it is not read yet.
            if row.get::<_, Option<i32>>(1) != Some(from.plus(values.len()).get()) {
                break;
            }
            let (value, serialization): (String, Option<&str>) = (row.get(2), row.get(3));
            if value == CLOSED && matches!(serialization, None | Some("portable_json")) {
                return Ok(Some(StreamPage { values, then: Then::End }));
            }
            bytes += value.len();
            values.push(result(Some(value), None, serialization));
        }
        let then = if values.len() >= PAGE || bytes > PAGE_BYTES {
            Then::More
        } else if status.is_some_and(Status::is_terminal) {
            Then::End
        } else {
            Then::NotYet
        };
        Ok(Some(StreamPage { values, then }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::test_server::TestServer;
    use crate::workflow::RecordedResult;

    async fn read(database: &crate::database::Database, run: &str, from: usize) -> Option<(Vec<String>, Then)> {
        let (run, key) = (WorkflowId::stored(run), Key::stored("s"));
        let page = database.stream(&run, &key, Offset::FIRST.plus(from)).await.unwrap()?;
        let shown = |value: RecordedResult| match value {
            RecordedResult::Output(text) => text.chars().take(8).collect(),
            other => format!("{other:?}").chars().take(6).collect(),
        };
        Some((page.values.into_iter().map(shown).collect(), page.then))
    }

    fn seen(values: &[&str], then: Then) -> Option<(Vec<String>, Then)> {
        Some((values.iter().map(ToString::to_string).collect(), then))
    }

    #[tokio::test]
    async fn a_page_tells_what_is_there_and_what_comes_behind() {
        let database = TestServer::fresh_database().await;
        database.migrate().await.unwrap();
        let there = r#"
            INSERT INTO dbos.workflow_status (workflow_uuid, status) VALUES
                ('goes-on', 'PENDING'), ('closed', 'PENDING'), ('done', 'SUCCESS'), ('odd', 'PENDING'), ('full', 'SUCCESS'),
                ('large', 'SUCCESS');
            INSERT INTO dbos.streams (workflow_uuid, key, value, "offset", serialization) VALUES
                ('goes-on', 's', '0', 0, 'portable_json'), ('goes-on', 's', '1', 1, NULL), ('goes-on', 's', '3', 3, NULL),
                ('goes-on', 'other', '2', 2, NULL),
                ('closed', 's', '0', 0, NULL), ('closed', 's', '"__DBOS_STREAM_CLOSED__"', 1, 'portable_json'),
                ('closed', 's', '2', 2, NULL),
                ('done', 's', '0', 0, NULL),
                ('odd', 's', 'gASV', 0, 'py_pickle'), ('odd', 's', '1', 1, NULL);
            INSERT INTO dbos.streams (workflow_uuid, key, value, "offset") SELECT 'full', 's', n, n FROM generate_series(0, 100) n;
            INSERT INTO dbos.streams (workflow_uuid, key, value, "offset")
                SELECT 'large', 's', concat('"', repeat('1', 200000), '"'), n FROM generate_series(0, 2) n"#;
        database.client().await.unwrap().batch_execute(there).await.unwrap();
        assert_eq!(read(&database, "gone", 0).await, None);
        assert_eq!(read(&database, "goes-on", 0).await, seen(&["0", "1"], Then::NotYet));
        assert_eq!(read(&database, "goes-on", 2).await, seen(&[], Then::NotYet));
        assert_eq!(read(&database, "closed", 0).await, seen(&["0"], Then::End));
        assert_eq!(read(&database, "closed", 1).await, seen(&[], Then::End));
        assert_eq!(read(&database, "done", 0).await, seen(&["0"], Then::End));
        assert_eq!(read(&database, "done", 7).await, seen(&[], Then::End));
        assert_eq!(read(&database, "odd", 0).await, seen(&["Failed", "1"], Then::NotYet));
        let (values, then) = read(&database, "full", 0).await.unwrap();
        assert_eq!((values.len(), then), (100, Then::More));
        assert_eq!(read(&database, "full", 100).await, seen(&["100"], Then::End));
        let large = "\"1111111";
        assert_eq!(read(&database, "large", 0).await, seen(&[large, large], Then::More));
        assert_eq!(read(&database, "large", 2).await, seen(&[large], Then::End));
        assert_eq!(read(&database, "large", i32::MAX.try_into().unwrap()).await, seen(&[], Then::End));
    }
}
