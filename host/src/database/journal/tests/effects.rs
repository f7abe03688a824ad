//! What a record changes beside itself is there if and only if the record is.

use super::*;

/// A record that sets an event.
fn sets(run: &NewRun, step: i32, key: &str, value: &str) -> NewRecord {
    NewRecord {
        step: StepNumber::stored(step),
        result: RecordedResult::Nothing,
        effect: Some(Effect::Event { key: key.into(), value: value.into() }),
        ..record(run, "")
    }
}

fn entry(record: NewRecord) -> Entry {
    Entry::Record(Box::new(record))
}

impl Place {
    /// `<run> <key> <value>` of each event, and the same with the number of each value that was ever set.
    async fn events(&self) -> (Vec<String>, Vec<String>) {
        let client = self.database.client().await.unwrap();
        let texts = async |query: &str| {
            client.query(query, &[]).await.unwrap().iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>()
        };
        let now = "SELECT concat_ws(' ', workflow_uuid, key, value) FROM dbos.workflow_events
                    WHERE serialization = 'portable_json' ORDER BY 1";
        let ever = "SELECT concat_ws(' ', workflow_uuid, function_id, key, value) FROM dbos.workflow_events_history
                     WHERE serialization = 'portable_json' ORDER BY workflow_uuid, function_id";
        (texts(now).await, texts(ever).await)
    }
}

#[tokio::test]
async fn the_later_of_two_values_in_one_commit_stays_and_both_are_kept() {
    let place = Place::new().await;
    let journal = place.journal();
    let runs = place.started(&journal, &ids(2)).await;
    let entries = vec![
        entry(sets(&runs[0], 1, "state", "\"begun\"")),
        entry(sets(&runs[0], 2, "state", "\"done\"")),
        entry(sets(&runs[0], 3, "other", "null")),
        recorded(&runs[1], "1"),
        finished(&runs[0]),
    ];
    assert!(all(&journal, entries).await.iter().all(|landed| *landed == Landed::Written));
    let (now, ever) = place.events().await;
    assert_eq!(now, ["run-0 other null", "run-0 state \"done\""]);
    assert_eq!(ever, ["run-0 1 state \"begun\"", "run-0 2 state \"done\"", "run-0 3 other null"]);
    assert_eq!(place.count("SELECT count(DISTINCT xmin::text) FROM dbos.operation_outputs").await, 1, "one commit");
    let nothing = "SELECT count(*) FROM dbos.operation_outputs
                    WHERE output IS NULL AND error IS NULL AND serialization IS NULL";
    assert_eq!(place.count(nothing).await, 3, "a record of nothing has nothing in it");
    // In a later commit the value is replaced.
    assert_eq!(all(&journal, vec![entry(sets(&runs[1], 2, "state", "1"))]).await, [Landed::Written]);
    assert_eq!(all(&journal, vec![entry(sets(&runs[1], 3, "state", "2"))]).await, [Landed::Written]);
    assert_eq!(place.events().await.0.last().unwrap(), "run-1 state 2");
}

#[tokio::test]
async fn a_record_that_is_not_written_has_no_effect() {
    let place = Place::new().await;
    let journal = place.journal();
    let runs = place.started(&journal, &ids(4)).await;
    assert_eq!(all(&journal, vec![entry(sets(&runs[0], 1, "state", "1"))]).await, [Landed::Written]);
    place.execute("UPDATE dbos.workflow_status SET owner_xid = 'other' WHERE workflow_uuid = 'run-1'").await;
    let landed = all(
        &journal,
        vec![
            entry(sets(&runs[0], 1, "state", "2")),
            entry(sets(&runs[1], 1, "state", "2")),
            entry(sets(&runs[2], 1, "state", "\"\0\"")),
            entry(sets(&runs[3], 1, "state", "2")),
        ],
    )
    .await;
    assert!(
        matches!(&landed[..], [Landed::Exists, Landed::NotOwner, Landed::Refused(_), Landed::Written]),
        "{landed:?}"
    );
    let records = "SELECT count(*) FROM dbos.operation_outputs WHERE workflow_uuid IN ('run-0', 'run-3')";
    assert_eq!((place.count(records).await, place.count("SELECT count(*) FROM dbos.operation_outputs").await), (2, 2));
    let (now, ever) = place.events().await;
    assert_eq!(now, ["run-0 state 1", "run-3 state 2"]);
    assert_eq!(ever, ["run-0 1 state 1", "run-3 1 state 2"]);
}

#[tokio::test]
async fn a_run_sets_an_event_in_the_commit_that_starts_it() {
    let place = Place::new().await;
    let journal = place.journal();
    let run = place.run("run-0");
    let entries = vec![Entry::Start(Box::new(run.clone())), entry(sets(&run, 1, "state", "1")), finished(&run)];
    assert!(all(&journal, entries).await.iter().all(|landed| *landed == Landed::Written));
    assert_eq!(place.events().await.0, ["run-0 state 1"]);
    let same = "SELECT count(*) FROM dbos.workflow_status s JOIN dbos.workflow_events e USING (workflow_uuid)
                 WHERE s.status = 'SUCCESS' AND s.xmin = e.xmin";
    assert_eq!(place.count(same).await, 1);
}

#[tokio::test]
async fn a_record_without_a_digest_has_none() {
    let place = Place::new().await;
    let journal = place.journal();
    let runs = place.started(&journal, &ids(1)).await;
    let deadline = NewRecord { digest: None, step: StepNumber::stored(2), ..record(&runs[0], "9.0") };
    assert_eq!(all(&journal, vec![recorded(&runs[0], "1"), entry(deadline)]).await, [Landed::Written, Landed::Written]);
    assert_eq!(place.count("SELECT count(*) FROM dbos.operation_outputs").await, 2);
    assert_eq!(place.count("SELECT sum(function_id)::int8 FROM dbos_host.operation_digest").await, 1);
}

fn writes(run: &NewRun, step: i32, key: &str, value: &str) -> NewRecord {
    NewRecord {
        step: StepNumber::stored(step),
        result: RecordedResult::Nothing,
        effect: Some(Effect::Stream { key: key.into(), value: value.into() }),
        ..record(run, "null")
    }
}

impl Place {
    /// The values of all streams in their order, as text.
    async fn streams(&self) -> Vec<String> {
        let query = "SELECT concat_ws(' ', workflow_uuid, key, \"offset\", function_id, value) FROM dbos.streams
                      WHERE serialization = 'portable_json' ORDER BY workflow_uuid, key, \"offset\"";
        let rows = self.database.client().await.unwrap().query(query, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

#[tokio::test]
async fn values_of_a_stream_have_the_order_of_their_steps() {
    let place = Place::new().await;
    let journal = place.journal();
    let runs = place.started(&journal, &ids(2)).await;
    // In one commit, with events between them, and then in another one.
    let first = vec![
        entry(writes(&runs[0], 1, "out", "1")),
        entry(sets(&runs[0], 2, "out", "\"an event\"")),
        entry(writes(&runs[0], 3, "out", "2")),
        entry(writes(&runs[0], 4, "log", "3")),
        entry(writes(&runs[1], 1, "out", "4")),
    ];
    assert!(all(&journal, first).await.iter().all(|landed| *landed == Landed::Written));
    let second = vec![entry(writes(&runs[0], 5, "out", "5")), entry(writes(&runs[0], 1, "out", "again"))];
    assert_eq!(all(&journal, second).await, [Landed::Written, Landed::Exists]);
    let streams = ["run-0 log 0 4 3", "run-0 out 0 1 1", "run-0 out 1 3 2", "run-0 out 2 5 5", "run-1 out 0 1 4"];
    assert_eq!(place.streams().await, streams);
    assert_eq!(place.events().await.0, ["run-0 out \"an event\""]);
}

/// A step of another SDK asks nobody before it writes to the stream of a run of ours.
#[tokio::test]
async fn a_value_that_another_program_is_writing_is_stepped_behind() {
    let place = Place::new().await;
    let journal = place.journal();
    let runs = place.started(&journal, &ids(1)).await;
    let other = place.database.client().await.unwrap();
    other
        .batch_execute(
            "BEGIN; INSERT INTO dbos.streams (workflow_uuid, key, value, \"offset\", function_id, serialization)
                VALUES ('run-0', 'out', '\"other\"', 0, 7, 'portable_json')",
        )
        .await
        .unwrap();
    let written = tokio::spawn({
        let (journal, entry) = (journal.clone(), entry(writes(&runs[0], 1, "out", "1")));
        async move { journal.write(entry).await }
    });
    place.until_a_lock_is_waited_for().await;
    other.batch_execute("COMMIT").await.unwrap();
    assert_eq!(written.await.unwrap().unwrap(), Landed::Written);
    assert_eq!(place.streams().await, ["run-0 out 0 7 \"other\"", "run-0 out 1 1 1"]);
}
