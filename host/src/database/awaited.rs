//! Looking for what somebody in this process waits for: ends of runs, messages, events, values of streams.
//!
//! Problem: any program may do these things, without a word to this host, and ten thousand of its runs may wait. So one
//! question is asked for all of them, by the keys of what they wait for. Nothing is read here but that there is something:
//! whoever waits for it reads it, under its own rules.

use futures_util::future::try_join4;
use tokio_postgres::types::ToSql;

use super::error::DatabaseError;
use super::ordinality::place;
use crate::workflow::{Signal, WorkflowId};

/// Signals in one look, so that none holds a connection for longer than some 40 ms.
const PAGE: usize = 10_000;

/// Every row is looked for by its key. A plan that was made while a table had three rows reads it from end to end, for each
/// of those who wait, and is kept until the server has noticed that it has a million.
const BY_KEY: &str = "SET LOCAL enable_seqscan = off";

// `OFFSET 0` makes each of these a look by key for each of those who wait. Without it the planner may turn it into a join
// that reads the whole table.

// A status that this program does not know is no end. A run that is gone has ended.
const ENDED: &str = "
SELECT w.nr FROM unnest($1::text[]) WITH ORDINALITY AS w (run, nr)
 WHERE NOT EXISTS (
     SELECT FROM dbos.workflow_status s
      WHERE s.workflow_uuid = w.run
        AND coalesce(s.status, '') NOT IN ('SUCCESS', 'ERROR', 'CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED')
     OFFSET 0)";

const MESSAGES: &str = "
SELECT w.nr FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w (run, topic, nr)
 WHERE EXISTS (
     SELECT FROM dbos.notifications n
      WHERE n.destination_uuid = w.run AND n.topic = w.topic AND NOT n.consumed OFFSET 0)";

const EVENTS: &str = "
SELECT w.nr FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w (run, key, nr)
 WHERE EXISTS (SELECT FROM dbos.workflow_events e WHERE e.workflow_uuid = w.run AND e.key = w.key OFFSET 0)";

const STREAMS: &str = "
SELECT w.nr FROM unnest($1::text[], $2::text[], $3::int4[]) WITH ORDINALITY AS w (run, key, wanted, nr)
 WHERE EXISTS (
     SELECT FROM dbos.streams s
      WHERE s.workflow_uuid = w.run AND s.key = w.key AND s.\"offset\" = w.wanted OFFSET 0)
    OR NOT EXISTS (
     SELECT FROM dbos.workflow_status s
      WHERE s.workflow_uuid = w.run
        AND coalesce(s.status, '') NOT IN ('SUCCESS', 'ERROR', 'CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED')
     OFFSET 0)";

/// Signals of one kind: their places in the list, and what a statement asks for.
#[derive(Default)]
struct Asked<'a> {
    places: Vec<usize>,
    runs: Vec<&'a str>,
    names: Vec<&'a str>,
    offsets: Vec<i32>,
}

impl<'a> Asked<'a> {
    fn add(&mut self, place: usize, run: &'a WorkflowId, name: Option<&'a str>, offset: Option<i32>) {
        self.places.push(place);
        self.runs.push(run.as_str());
        self.names.extend(name);
        self.offsets.extend(offset);
    }
}

impl super::Database {
    /// Those of the signals for which there is something.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn raised(&self, signals: &[Signal]) -> Result<Vec<Signal>, DatabaseError> {
        let mut raised = Vec::new();
        for page in signals.chunks(PAGE) {
            raised.extend(self.raised_of(page).await?.into_iter().map(|place| page[place].clone()));
        }
        Ok(raised)
    }

    async fn raised_of(&self, page: &[Signal]) -> Result<Vec<usize>, DatabaseError> {
        let [mut ended, mut messages, mut events, mut streams] = [(); 4].map(|()| Asked::default());
        for (place, signal) in page.iter().enumerate() {
            match signal {
                Signal::Ended(run) => ended.add(place, run, None, None),
                Signal::Message(run, topic) => messages.add(place, run, Some(topic.as_str()), None),
                Signal::Event(run, key) => events.add(place, run, Some(key.as_str()), None),
                Signal::Stream(run, key, offset) => streams.add(place, run, Some(key.as_str()), Some(offset.get())),
                // Only its writer tells of it; whoever waits for more listens for the offset too.
                Signal::Appended(..) => {}
            }
        }
        let mut client = self.client().await?;
        // For the setting, which ends with it.
        let transaction = client.transaction().await?;
        transaction.batch_execute(BY_KEY).await?;
        let ask = async |statement: &str, asked: &Asked<'_>, parameters: &[&(dyn ToSql + Sync)]| {
            if asked.places.is_empty() {
                return Ok(Vec::new());
            }
            let statement = transaction.prepare_cached(statement).await?;
            let rows = transaction.query(&statement, parameters).await?;
            Ok::<_, tokio_postgres::Error>(rows.iter().map(|row| asked.places[place(row, 0)]).collect())
        };
        let found = try_join4(
            ask(ENDED, &ended, &[&ended.runs]),
            ask(MESSAGES, &messages, &[&messages.runs, &messages.names]),
            ask(EVENTS, &events, &[&events.runs, &events.names]),
            ask(STREAMS, &streams, &[&streams.runs, &streams.names, &streams.offsets]),
        )
        .await?;
        transaction.commit().await?;
        let (ended, messages, events, streams) = found;
        Ok([ended, messages, events, streams].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::test_server::TestServer;
    use crate::workflow::{Key, Offset, Topic};

    fn run(id: &str) -> WorkflowId {
        WorkflowId::stored(id)
    }

    /// What is in the database: a run that goes on, with something of each kind, and one that has ended.
    const THERE: &str = "
        INSERT INTO dbos.workflow_status (workflow_uuid, status) VALUES
            ('goes-on', 'PENDING'), ('queued', 'ENQUEUED'), ('strange', 'RESTING'), ('done', 'SUCCESS'),
            ('cancelled', 'CANCELLED');
        INSERT INTO dbos.notifications (destination_uuid, topic, message, consumed) VALUES
            ('goes-on', 'new', '1', false), ('goes-on', 'old', '1', true), ('goes-on', 'both', '1', true),
            ('goes-on', 'both', '2', false);
        INSERT INTO dbos.workflow_events (workflow_uuid, key, value) VALUES ('goes-on', 'k', '1');
        INSERT INTO dbos.streams (workflow_uuid, key, value, \"offset\") VALUES ('goes-on', 's', '1', 0), ('done', 's', '1', 0)";

    #[tokio::test]
    async fn what_is_there_is_found_and_nothing_else() {
        let database = TestServer::fresh_database().await;
        database.migrate().await.unwrap();
        database.client().await.unwrap().batch_execute(THERE).await.unwrap();
        let message = |id: &str, topic: &str| Signal::Message(run(id), Topic::stored(topic));
        let event = |id: &str, key: &str| Signal::Event(run(id), Key::stored(key));
        let stream = |id: &str, offset| Signal::Stream(run(id), Key::stored("s"), Offset::FIRST.plus(offset));
        let there = vec![
            Signal::Ended(run("done")),
            message("goes-on", "new"),
            event("goes-on", "k"),
            stream("goes-on", 0),
            Signal::Ended(run("cancelled")),
            Signal::Ended(run("gone")),
            message("goes-on", "both"),
            stream("done", 0),
            stream("done", 1),
            stream("gone", 7),
        ];
        let not_there = vec![
            Signal::Ended(run("goes-on")),
            Signal::Ended(run("queued")),
            Signal::Ended(run("strange")),
            message("goes-on", "old"),
            message("goes-on", "never"),
            message("done", "new"),
            event("goes-on", "other"),
            event("done", "k"),
            stream("goes-on", 1),
            Signal::Stream(run("goes-on"), Key::stored("other"), Offset::FIRST),
            Signal::Appended(run("goes-on"), Key::stored("s")),
        ];
        assert_eq!(database.raised(&not_there).await.unwrap(), []);
        assert_eq!(database.raised(&[]).await.unwrap(), []);
        let mixed: Vec<Signal> =
            there.iter().zip(not_there.iter().cycle()).flat_map(|(one, other)| [one.clone(), other.clone()]).collect();
        let raised = database.raised(&mixed).await.unwrap();
        assert_eq!(raised.len(), there.len(), "{raised:?}");
        assert!(there.iter().all(|signal| raised.contains(signal)), "{raised:?}");
    }
}
