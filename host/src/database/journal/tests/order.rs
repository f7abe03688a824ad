//! Entries of one run: in their order, and none without the one that it was made from.

use std::num::NonZeroU32;

use super::*;

#[tokio::test]
async fn entries_keep_their_order_over_several_connections() {
    let place = Place::new().await;
    let journal = Journal::open(&place.database, NonZeroU32::new(4).unwrap(), &mpsc::channel(1).0);
    let runs = place.started(&journal, &ids(40)).await;
    let mut entries = Vec::new();
    for (n, run) in runs.iter().enumerate() {
        let mut child = place.run(&format!("child-{n}"));
        child.parent = Some(NewRecord { child: Some(child.claim().run().clone()), ..record(run, "null") });
        let second = NewRecord { step: StepNumber::stored(2), ..record(run, "1") };
        entries.extend([Entry::Start(Box::new(child)), Entry::Record(Box::new(second)), finished(run)]);
    }
    let landed = all(&journal, entries).await;
    assert!(landed.iter().all(|landed| *landed == Landed::Written), "{landed:?}");
    assert_eq!(place.count("SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'").await, 40);
    let writers = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND query LIKE '%unnest%' AND pid <> pg_backend_pid()";
    assert_eq!(place.count(writers).await, 4);
}

#[tokio::test]
async fn the_last_record_and_the_outcome_are_one_commit() {
    let place = Place::new().await;
    let journal = place.journal();
    let runs = place.started(&journal, &ids(1)).await;
    let record = journal.append(recorded(&runs[0], "1")).await.unwrap();
    let outcome = journal.append_behind(finished(&runs[0]), Some(&record)).await.unwrap();
    assert_eq!(record.durable().await, Ok(Landed::Written));
    assert_eq!(outcome.durable().await, Ok(Landed::Written));
    let same = "SELECT count(*) FROM dbos.workflow_status s JOIN dbos.operation_outputs o USING (workflow_uuid)
                 WHERE s.xmin = o.xmin AND s.status = 'SUCCESS'";
    assert_eq!(place.count(same).await, 1);
}

#[tokio::test]
async fn an_outcome_is_not_written_without_the_record_that_it_was_made_from() {
    let place = Place::new().await;
    let journal = place.journal();
    let runs = place.started(&journal, &ids(3)).await;
    assert_eq!(all(&journal, vec![recorded(&runs[0], "first"), recorded(&runs[1], "first")]).await.len(), 2);
    // In one commit with it, and in a later one.
    let record = journal.append(recorded(&runs[0], "second")).await.unwrap();
    let outcome = journal.append_behind(finished(&runs[0]), Some(&record)).await.unwrap();
    assert_eq!(record.durable().await, Ok(Landed::Exists));
    assert_eq!(outcome.durable().await, Ok(Landed::Exists));
    let record = journal.append(recorded(&runs[1], "second")).await.unwrap();
    let between = journal.append(recorded(&runs[1], "third")).await.unwrap();
    let outcome = journal.append_behind(finished(&runs[1]), Some(&record)).await.unwrap();
    assert_eq!(between.durable().await, Ok(Landed::Exists));
    assert_eq!(outcome.durable().await, Ok(Landed::Exists));
    // And not when the record cannot be stored at all.
    let record = journal.append(recorded(&runs[2], "\"\0\"")).await.unwrap();
    let outcome = journal.append_behind(finished(&runs[2]), Some(&record)).await.unwrap();
    assert!(matches!(record.durable().await, Ok(Landed::Refused(_))));
    assert_eq!(outcome.durable().await, Ok(Landed::Exists));
    assert_eq!(place.count("SELECT count(*) FROM dbos.workflow_status WHERE status = 'PENDING'").await, 3);
    assert_eq!(place.count("SELECT count(*) FROM dbos.workflow_output").await, 0);
}

/// Hands in a start and records, each behind the one before it, and the outcome.
async fn chain(journal: &Journal, run: &NewRun, starts: bool, outputs: &[&str]) -> Vec<Landed> {
    let mut tickets = Vec::new();
    if starts {
        tickets.push(journal.append(Entry::Start(Box::new(run.clone()))).await.unwrap());
    }
    for (n, output) in (1..).zip(outputs) {
        let entry = Entry::Record(Box::new(NewRecord { step: StepNumber::stored(n), ..record(run, output) }));
        tickets.push(journal.append_behind(entry, tickets.last()).await.unwrap());
    }
    tickets.push(journal.append_behind(finished(run), tickets.last()).await.unwrap());
    let mut landed = Vec::new();
    for ticket in tickets {
        landed.push(ticket.durable().await.unwrap());
    }
    landed
}

#[tokio::test]
async fn a_run_that_is_ahead_is_one_commit_from_its_start_to_its_outcome() {
    let place = Place::new().await;
    let journal = place.journal();
    let landed = chain(&journal, &place.run("a"), true, &["1", "2", "3"]).await;
    assert_eq!(landed, vec![Landed::Written; 5]);
    let commits = "SELECT count(DISTINCT x) FROM (SELECT xmin::text AS x FROM dbos.workflow_status
                    UNION ALL SELECT xmin::text FROM dbos.operation_outputs
                    UNION ALL SELECT xmin::text FROM dbos.workflow_output) AS written";
    assert_eq!(place.count(commits).await, 1);
    assert_eq!(place.count("SELECT count(*) FROM dbos.operation_outputs").await, 3);
}

#[tokio::test]
async fn a_run_under_an_id_that_somebody_has_locked_is_not_waited_for() {
    let place = Place::new().await;
    let journal = place.journal();
    place.started(&journal, &ids(1)).await;
    let somebody = place.database.own_client().await.unwrap();
    somebody.batch_execute("BEGIN; SELECT FROM dbos.workflow_status FOR UPDATE").await.unwrap();
    let landed =
        tokio::time::timeout(Duration::from_secs(30), chain(&journal, &place.run("run-0"), true, &["1"])).await;
    let landed = landed.expect("what is not there by this start is none of its records' business");
    assert_eq!(landed, [Landed::Exists, Landed::NotOwner, Landed::NotOwner]);
    somebody.batch_execute("COMMIT").await.unwrap();
}

#[tokio::test]
async fn nothing_is_written_behind_what_was_not() {
    use Landed::{Exists, NotOwner, Written};
    let place = Place::new().await;
    let journal = place.journal();
    let runs = place.started(&journal, &ids(3)).await;
    let second = NewRecord { step: StepNumber::stored(2), ..record(&runs[0], "first") };
    assert_eq!(all(&journal, vec![Entry::Record(Box::new(second))]).await, [Written]);
    // A record that was there: what comes before it is written, what was made from it is not.
    assert_eq!(chain(&journal, &runs[0], false, &["1", "2", "3"]).await, [Written, Exists, Exists, Exists]);
    // One that cannot be stored.
    let landed = chain(&journal, &runs[1], false, &["1", "\"\0\"", "3"]).await;
    assert!(matches!(landed[..], [Written, Landed::Refused(_), Exists, Exists]), "{landed:?}");
    // The same with more behind it in later commits.
    let refused = journal.append(recorded(&runs[2], "\"\0\"")).await.unwrap();
    assert!(matches!(refused.durable().await, Ok(Landed::Refused(_))));
    let mut tickets = vec![refused];
    for n in 2..=4 {
        let entry = Entry::Record(Box::new(NewRecord { step: StepNumber::stored(n), ..record(&runs[2], "1") }));
        tickets.push(journal.append_behind(entry, tickets.last()).await.unwrap());
    }
    tickets.push(journal.append_behind(finished(&runs[2]), tickets.last()).await.unwrap());
    for ticket in &tickets[1..] {
        assert_eq!(ticket.durable().await, Ok(Exists));
    }
    // A start under an id that is taken.
    let landed = chain(&journal, &place.run("run-2"), true, &["1", "2"]).await;
    assert_eq!(landed, [Exists, NotOwner, NotOwner, NotOwner]);
    assert_eq!(place.count("SELECT count(*) FROM dbos.operation_outputs WHERE workflow_uuid = 'run-0'").await, 2);
    assert_eq!(place.count("SELECT count(*) FROM dbos.operation_outputs WHERE workflow_uuid = 'run-1'").await, 1);
    assert_eq!(place.count("SELECT count(*) FROM dbos.workflow_status WHERE status = 'PENDING'").await, 3);
}

#[tokio::test]
async fn what_has_landed_and_nothing_else_is_told_to_those_who_wait() {
    let place = Place::new().await;
    let (wrote, mut told) = mpsc::channel(2);
    let journal = Journal::open(&place.database, NonZeroU32::MIN, &wrote);
    let runs = place.started(&journal, &["one".to_owned(), "two".to_owned(), "three".to_owned()]).await;
    assert!(told.is_empty(), "nobody can have waited for a start");
    assert_eq!(journal.write(finished(&runs[0])).await, Ok(Landed::Written));
    assert_eq!(told.recv().await, Some(Signal::Ended(runs[0].claim().run().clone())));
    assert_eq!(journal.write(finished(&runs[0])).await, Ok(Landed::NotOwner));
    // There is room for two, and the journal waits for nobody.
    let again = place.started(&journal, &["four".to_owned()]).await;
    let ends = runs[1..].iter().chain(&again).map(finished).collect();
    assert_eq!(all(&journal, ends).await, [Landed::Written, Landed::Written, Landed::Written]);
    for run in &runs[1..] {
        assert_eq!(told.recv().await, Some(Signal::Ended(run.claim().run().clone())));
    }
    drop((journal, wrote));
    assert_eq!(told.recv().await, None);
}
