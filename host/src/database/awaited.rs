//! Looking for what somebody in this process waits for: ends of runs, messages, events, values of streams.
//!
//! Problem: any program may do these things, without a word to this host, and ten thousand of its runs may wait. So one
//! question is asked for all of them, by the keys of what they wait for. Nothing is read here but that there is something:
//! whoever waits for it reads it, under its own rules.
//!
//! What one kind of thing takes to be found, or that a table is locked, must not keep those who wait for another from
//! hearing. So each question is about one kind, about so many at most, and ended by the server after a while.

use std::collections::{HashMap, HashSet};
use std::mem::{Discriminant, discriminant};

use deadpool_postgres::Transaction;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::error::DatabaseError;
use super::ordinality::place;
use crate::workflow::{Signal, Topic, WorkflowId};

/// Signals in one question, so that none holds a connection for longer than some 40 ms.
const PAGE: usize = 10_000;

/// Every row is looked for by its key. A plan that was made while a table had three rows reads it from end to end, for each
/// of those who wait, and is kept until the server has noticed that it has a million.
///
/// A question takes some 40 ms. A hundred times as long is somebody's lock, or messages by the million in a table that has no
/// index of those that nobody has taken (`dbos_host_unread`); the others are not to wait for that.
const BY_KEY: &str = "SET LOCAL enable_seqscan = off; SET LOCAL statement_timeout = '4s'";

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

/// From so many receivers on, what is unread is read instead, as long as it is less than they are.
const MANY: u16 = 1_000;

/// The mailboxes that have something, once for each message, up to so many. A row of nulls: without the index that this host
/// makes (`dbos_host_unread`) the whole table would be read.
const UNREAD: &str = "
SELECT n.destination_uuid, n.topic FROM dbos.notifications n
 WHERE NOT n.consumed AND n.topic IS NOT NULL AND to_regclass('dbos.dbos_host_unread') IS NOT NULL
UNION ALL
SELECT NULL, NULL WHERE to_regclass('dbos.dbos_host_unread') IS NULL
 LIMIT $1";

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

/// The signals in pages that are asked for one by one, each of one kind.
#[must_use]
pub fn pages(signals: Vec<Signal>) -> Vec<Vec<Signal>> {
    let mut kinds: HashMap<Discriminant<Signal>, Vec<Signal>> = HashMap::new();
    for signal in signals {
        kinds.entry(discriminant(&signal)).or_default().push(signal);
    }
    kinds.values().flat_map(|kind| kind.chunks(PAGE).map(<[Signal]>::to_vec)).collect()
}

impl super::Database {
    /// Those of the signals of a page for which there is something.
    ///
    /// # Errors
    /// When the database does not answer, or took too long to find out.
    pub async fn raised(&self, page: &[Signal]) -> Result<Vec<Signal>, DatabaseError> {
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
        // For the settings, which end with it.
        let transaction = client.transaction().await?;
        transaction.batch_execute(BY_KEY).await?;
        let mut raised = Vec::new();
        if messages.places.len() >= usize::from(MANY)
            && let Some(unread) = unread(&transaction).await?
        {
            let places = messages.places.iter().map(|place| &page[*place]);
            raised.extend(places.filter(|signal| unread.contains(*signal)).cloned());
            messages = Asked::default();
        }
        let asked: [(&str, &Asked<'_>, &[&(dyn ToSql + Sync)]); 4] = [
            (ENDED, &ended, &[&ended.runs]),
            (MESSAGES, &messages, &[&messages.runs, &messages.names]),
            (EVENTS, &events, &[&events.runs, &events.names]),
            (STREAMS, &streams, &[&streams.runs, &streams.names, &streams.offsets]),
        ];
        for (statement, asked, parameters) in asked.into_iter().filter(|(_, asked, _)| !asked.places.is_empty()) {
            let statement = transaction.prepare_cached(statement).await?;
            let rows = transaction.query(&statement, parameters).await?;
            raised.extend(rows.iter().map(|row| page[asked.places[place(row, 0)]].clone()));
        }
        transaction.commit().await?;
        Ok(raised)
    }
}

/// The mailboxes in which anything is unread. `None`: they are more than it is worth to read.
async fn unread(client: &Transaction<'_>) -> Result<Option<HashSet<Signal>>, DatabaseError> {
    let statement = client.prepare_cached(UNREAD).await?;
    let rows = client.query(&statement, &[&i64::from(MANY)]).await?;
    let mailbox = |row: &Row| {
        let (run, topic): (Option<&str>, Option<&str>) = (row.get(0), row.get(1));
        Some(Signal::Message(WorkflowId::stored(run?), Topic::stored(topic?)))
    };
    let unread: Option<HashSet<Signal>> = rows.iter().map(mailbox).collect();
    Ok(unread.filter(|_| rows.len() < usize::from(MANY)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::test_server::TestServer;
    use crate::workflow::{Key, Offset};

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

    #[test]
    fn a_page_is_of_one_kind_and_has_an_end() {
        let message = |n: usize| Signal::Message(run(&n.to_string()), Topic::stored("t"));
        let mut signals: Vec<Signal> = (0..=PAGE).map(message).collect();
        signals.insert(7, Signal::Ended(run("a")));
        let mut pages: Vec<Vec<Signal>> = pages(signals);
        pages.sort_by_key(Vec::len);
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, PAGE]);
        assert!(pages[..2].contains(&vec![Signal::Ended(run("a"))]) && pages[..2].contains(&vec![message(PAGE)]));
    }

    #[tokio::test]
    async fn many_receivers_hear_what_few_do() {
        let database = TestServer::fresh_database().await;
        database.migrate().await.unwrap();
        let client = database.client().await.unwrap();
        client.batch_execute(THERE).await.unwrap();
        let message = |id: &str, topic: &str| Signal::Message(run(id), Topic::stored(topic));
        let mut signals: Vec<Signal> = (0..MANY).map(|n| message(&n.to_string(), "t")).collect();
        signals.extend([message("goes-on", "new"), message("goes-on", "old"), message("goes-on", "both")]);
        let expected = [message("goes-on", "new"), message("goes-on", "both")];
        let more = "INSERT INTO dbos.notifications (destination_uuid, topic, message, consumed)
                    SELECT 'done', CASE WHEN n > 7 THEN 'other' END, '1', false FROM generate_series(1, 1100) n";
        // Few messages, then more than it is worth to read, then no index.
        for (then, are_few) in [("SELECT 1", true), (more, false), ("DROP INDEX dbos.dbos_host_unread", false)] {
            client.batch_execute(then).await.unwrap();
            let mut other = database.client().await.unwrap();
            let transaction = other.transaction().await.unwrap();
            assert_eq!(unread(&transaction).await.unwrap().is_some(), are_few, "{then}");
            assert_eq!(database.raised(&signals).await.unwrap(), expected, "{then}");
        }
    }

    #[tokio::test]
    async fn what_was_taken_long_ago_is_not_looked_at() {
        let database = TestServer::fresh_database().await;
        database.migrate().await.unwrap();
        let client = database.client().await.unwrap();
        client.batch_execute(THERE).await.unwrap();
        let past = "INSERT INTO dbos.notifications (destination_uuid, topic, message, consumed)
                    SELECT 'goes-on', 'old', '1', true FROM generate_series(1, 10000); ANALYZE dbos.notifications";
        for fill in ["SELECT 1", past] {
            client.batch_execute(fill).await.unwrap();
            client.batch_execute("SET enable_seqscan = off").await.unwrap();
            let look = MESSAGES.replace("$1::text[], $2::text[]", "ARRAY['goes-on'], ARRAY['old']");
            for look in [look, UNREAD.replace("$1", "1000")] {
                let plan = client.query(&format!("EXPLAIN {look}"), &[]).await.unwrap();
                let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
                assert!(plan.iter().any(|line| line.contains("dbos_host_unread")), "{plan:#?}");
            }
        }
    }
}
