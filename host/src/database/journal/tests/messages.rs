//! A message is written with its record or not at all, in an order that everybody sees, and taken once.

use std::future::poll_fn;

use tokio_postgres::{AsyncMessage, Client, NoTls};

use super::*;
use crate::database::message::NewSend;
use crate::database::receive::{self, NewReceive, Received};
use crate::workflow::Topic;

fn topic() -> Topic {
    Topic::parse(Some("t")).unwrap()
}

/// A message to a run, by a run as its step with this number, or by nobody.
fn sent(by: Option<(&NewRun, i32)>, to: &str, message: &str, key: Option<&str>) -> Entry {
    let record = by.map(|(run, step)| NewRecord {
        step: StepNumber::stored(step),
        result: RecordedResult::Nothing,
        ..record(run, "")
    });
    Entry::Send(Box::new(NewSend::new(record, WorkflowId::stored(to), topic(), message.into(), key)))
}

/// A look at this time as the step with this number, which waits until 100.
fn look(run: &NewRun, step: i32, now: i64, is_first: bool) -> Entry {
    let (step, result) = (StepNumber::stored(step), RecordedResult::Nothing);
    let record = NewRecord { step, result, completed_at: EpochMs(now), ..record(run, "") };
    Entry::Receive(Box::new(NewReceive { record, topic: topic(), deadline: EpochMs(100), is_first }))
}

fn read(message: &str) -> Landed {
    Landed::Received(Received::Message(RecordedResult::Output(message.into())))
}

impl Place {
    /// What is told on a channel from here on, as long as the client is kept.
    async fn listen(&self, channel: &str) -> (mpsc::UnboundedReceiver<String>, Client) {
        let mut config = TestServer::shared().config();
        let (client, mut connection) = config.dbname(&self.name).connect(NoTls).await.unwrap();
        let (sender, payloads) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notification(told) = message {
                    sender.send(told.payload().to_owned()).unwrap();
                }
            }
        });
        client.batch_execute(&format!("LISTEN {channel}")).await.unwrap();
        (payloads, client)
    }

    /// The messages to a run in the order in which DBOS's SDKs take them.
    async fn messages(&self, to: &str) -> Vec<String> {
        let client = self.database.client().await.unwrap();
        let query = "SELECT message FROM dbos.notifications WHERE destination_uuid = $1 ORDER BY created_at_epoch_ms";
        client.query(query, &[&to]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }

    /// The records of a run, as `<number> <name> <output>`.
    async fn records(&self, run: &str) -> Vec<String> {
        let client = self.database.client().await.unwrap();
        let query =
            "SELECT concat_ws(' ', function_id, function_name, coalesce(output, '-')) FROM dbos.operation_outputs
                      WHERE workflow_uuid = $1 ORDER BY function_id";
        client.query(query, &[&run]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }
}

#[tokio::test]
async fn messages_have_the_order_in_which_they_were_sent() {
    let place = Place::new().await;
    let journal = Journal::open(&place.database, NonZeroU32::new(4).unwrap(), &mpsc::channel(1).0);
    let runs = place.started(&journal, &ids(8)).await;
    // Many in one commit, and in commits that follow one another within a millisecond over every connection.
    let texts: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    let entries = texts[..200].iter().map(|text| sent(None, "run-0", text, None)).collect();
    assert!(all(&journal, entries).await.iter().all(|landed| *landed == Landed::Written));
    for (n, text) in texts.iter().enumerate().skip(200) {
        let by = (&runs[n % 8], i32::try_from(n).unwrap());
        assert_eq!(all(&journal, vec![sent(Some(by), "run-0", text, None)]).await, [Landed::Written]);
    }
    assert_eq!(place.messages("run-0").await, texts);
    assert_eq!(place.count("SELECT count(DISTINCT created_at_epoch_ms) FROM dbos.notifications").await, 300);
}

#[tokio::test]
async fn a_mailbox_that_many_write_to_is_not_far_ahead_of_the_clock_and_holds_up_nobody_else() {
    let place = Place::new().await;
    let journal = place.journal();
    place.started(&journal, &ids(2)).await;
    let texts: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    let mut tickets = Vec::new();
    for text in &texts {
        tickets.push(journal.append(sent(None, "run-0", text, None)).await.unwrap());
    }
    let other = journal.append(sent(None, "run-1", "\"other\"", None)).await.unwrap();
    assert_eq!(other.durable().await, Ok(Landed::Written));
    let there = place.count("SELECT count(*) FROM dbos.notifications WHERE destination_uuid = 'run-0'").await;
    assert!(there < 500, "{there} were written before the message to another mailbox");
    for ticket in tickets {
        assert_eq!(ticket.durable().await, Ok(Landed::Written));
    }
    let ahead = "SELECT max(created_at_epoch_ms) - (extract(epoch FROM clock_timestamp()) * 1000)::bigint
                   FROM dbos.notifications";
    let ahead = place.count(ahead).await;
    assert!(ahead <= 50, "{ahead} ms");
    assert_eq!(place.messages("run-0").await, texts);
}

/// The plan is kept for as long as a second, and may be made before there is anything.
#[tokio::test]
async fn a_look_reads_one_message_however_many_there_are() {
    let place = Place::new().await;
    let runs = place.started(&place.journal(), &ids(1)).await;
    place
        .execute(
            "INSERT INTO dbos.notifications (destination_uuid, topic, message, created_at_epoch_ms, consumed)
                 SELECT 'run-0', 't', n, n, n <= 20000 FROM generate_series(1, 40000) n",
        )
        .await;
    for statistics in ["SELECT 1", "ANALYZE dbos.notifications"] {
        place.execute(statistics).await;
        let session = Session::open(&place.database).await.unwrap();
        let _statement = receive::prepare(&session.client).await.unwrap();
        let plans = plans(&session).await;
        let plan = plans.iter().find(|plan| plan.contains("oldest AS")).expect("it is prepared");
        assert!(plan.contains("Index Scan using dbos_host_unread"), "{plan}");
    }
    assert_eq!(all(&place.journal(), vec![look(&runs[0], 1, 5, true)]).await, [read("20001")]);
}

#[tokio::test]
async fn a_message_is_there_if_and_only_if_its_record_is() {
    let place = Place::new().await;
    let journal = place.journal();
    let runs = place.started(&journal, &ids(6)).await;
    let lost = place.run("run-1");
    assert_eq!(all(&journal, vec![recorded(&runs[2], "1")]).await, [Landed::Written]);
    let entries = vec![
        sent(Some((&runs[0], 1)), "run-5", "\"sent\"", None),
        sent(Some((&lost, 1)), "run-5", "\"lost\"", None),
        sent(Some((&runs[2], 1)), "run-5", "\"recorded before\"", None),
        sent(Some((&runs[3], 1)), "nobody", "\"to nobody\"", None),
        sent(None, "nobody", "\"to nobody\"", None),
        sent(Some((&runs[4], 1)), "run-5", "\"once\"", Some("key")),
        sent(None, "run-5", "\"twice\"", Some("key")),
        sent(None, "run-4", "\"to another\"", Some("key")),
    ];
    let landed = all(&journal, entries).await;
    use Landed::{Exists, Nobody, NotOwner, Written};
    assert_eq!(landed, [Written, NotOwner, Exists, Nobody, Nobody, Written, Written, Written]);
    assert_eq!(place.messages("run-5").await, ["\"sent\"", "\"once\""]);
    assert_eq!(place.messages("run-4").await, ["\"to another\""]);
    assert_eq!(place.records("run-0").await, ["1 pay -"]);
    let nobody = "SELECT count(*) FROM dbos.operation_outputs
                   WHERE workflow_uuid = 'run-3' AND error::json->>'code' = 'no_such_workflow' AND output IS NULL";
    assert_eq!(place.count(nobody).await, 1, "that nobody got it is what is recorded");
    assert_eq!(place.count("SELECT count(*) FROM dbos_host.operation_digest").await, 4);
}

#[tokio::test]
async fn a_message_is_taken_by_the_record_that_has_it() {
    let place = Place::new().await;
    let journal = place.journal();
    let runs = place.started(&journal, &ids(2)).await;
    let (run, other) = (&runs[0], &runs[1]);
    let nothing = Landed::Received(Received::Nothing);
    assert_eq!(all(&journal, vec![look(run, 1, 5, true)]).await, [Landed::Received(Received::NotYet)]);
    assert_eq!(place.records("run-0").await, ["2 DBOS.sleep 0.100"], "the deadline is there, and no answer");
    all(&journal, vec![sent(None, "run-0", "1", None), sent(None, "run-0", "2", None)]).await;
    assert_eq!(all(&journal, vec![look(run, 1, 6, false), look(other, 1, 100, true)]).await, [read("1"), nothing]);
    // The same look again: its answer is there.
    assert_eq!(all(&journal, vec![look(run, 1, 7, false)]).await, [Landed::Exists]);
    // What is there is taken at the deadline too.
    assert_eq!(all(&journal, vec![look(run, 3, 100, true)]).await, [read("2")]);
    assert_eq!(place.records("run-0").await, ["1 pay 1", "2 DBOS.sleep 0.100", "3 pay 2", "4 DBOS.sleep 0.100"]);
    assert_eq!(place.records("run-1").await, ["1 pay -", "2 DBOS.sleep 0.100"]);
    let taken =
        "SELECT count(*) FROM dbos.notifications WHERE consumed AND consumed_by_function_id::text = CASE message
                  WHEN '1' THEN '1' ELSE '3' END";
    assert_eq!(place.count(taken).await, 2);
    assert_eq!(place.count("SELECT count(*) FROM dbos_host.operation_digest").await, 3, "deadlines have none");
    let lost = place.run("run-1");
    assert_eq!(all(&journal, vec![look(&lost, 3, 1, true)]).await, [Landed::NotOwner]);
}

/// Whoever listens for them by DBOS's trigger is told in the commit, which costs a turn among all that notify. So it matters
/// that many messages are one commit.
#[tokio::test]
async fn messages_of_one_batch_cost_one_notification() {
    let place = Place::new().await;
    let journal = place.journal();
    place.started(&journal, &ids(2)).await;
    let (mut told, _listens) = place.listen("dbos_notifications_channel").await;
    let to_one = (0..40).map(|n| sent(None, "run-0", &n.to_string(), None));
    let entries = to_one.chain([sent(None, "run-1", "1", None)]).collect();
    assert!(all(&journal, entries).await.iter().all(|landed| *landed == Landed::Written));
    assert_eq!(place.count("SELECT count(DISTINCT xmin::text) FROM dbos.notifications").await, 1);
    place.execute("NOTIFY dbos_notifications_channel, 'no more'").await;
    let mut payloads = Vec::new();
    while payloads.last().is_none_or(|last| last != "no more") {
        payloads.push(told.recv().await.expect("the connection stays"));
    }
    assert_eq!(payloads, ["run-0::t", "run-1::t", "no more"]);
}

/// What a look writes whose answer is lost, up to its COMMIT.
const FIRST_LOOK: &str = "BEGIN; SELECT FROM dbos.workflow_status FOR NO KEY UPDATE;
    UPDATE dbos.notifications SET consumed = true, consumed_by_function_id = 1;
    INSERT INTO dbos.operation_outputs (workflow_uuid, function_id, function_name, output)
        VALUES ('run-0', 1, 'DBOS.recv', (SELECT max(message) FROM dbos.notifications)), ('run-0', 2, 'DBOS.sleep', '0.100')";

/// The answer to a look at this time was lost, and it lands while the second one waits for the row. Meanwhile somebody
/// sends another message with this time. It must not be taken.
async fn a_look_that_is_sent_again_takes_nothing(found: &[&str], sent_meanwhile_at: i64) {
    let place = Place::new().await;
    let journal = place.journal();
    let runs = place.started(&journal, &ids(1)).await;
    all(&journal, found.iter().map(|message| sent(None, "run-0", message, None)).collect()).await;
    let first = place.database.own_client().await.unwrap();
    first.batch_execute(FIRST_LOOK).await.unwrap();
    let another = "INSERT INTO dbos.notifications (destination_uuid, topic, message, created_at_epoch_ms)
                   VALUES ('run-0', 't', '\"another\"', $1)";
    place.database.client().await.unwrap().execute(another, &[&sent_meanwhile_at]).await.unwrap();
    let second = journal.append(look(&runs[0], 1, 100, true)).await.unwrap();
    place.until_a_lock_is_waited_for().await;
    first.batch_execute("COMMIT").await.unwrap();
    assert_eq!(second.durable().await, Ok(Landed::Exists));
    let left = "SELECT count(*) FROM dbos.notifications WHERE NOT consumed AND message = '\"another\"'";
    assert_eq!(place.count(left).await, 1, "no record has it");
    assert_eq!(all(&journal, vec![look(&runs[0], 3, 5, true)]).await, [read("\"another\"")]);
}

#[tokio::test]
async fn a_look_that_is_sent_again_takes_no_second_message() {
    a_look_that_is_sent_again_takes_nothing(&["1"], i64::MAX).await;
}

#[tokio::test]
async fn a_look_that_is_sent_again_takes_no_message_that_has_become_the_oldest() {
    a_look_that_is_sent_again_takes_nothing(&["1"], 1).await;
}

#[tokio::test]
async fn a_message_that_came_after_a_recorded_timeout_is_left_for_the_next_look() {
    a_look_that_is_sent_again_takes_nothing(&[], 1).await;
}

/// Large messages are as many commits as they need: all at once would take longer than a statement may.
#[tokio::test]
async fn looks_that_find_large_messages_take_few_of_them_in_a_commit() {
    let place = Place::new().await;
    let journal = place.journal();
    let runs = place.started(&journal, &ids(8)).await;
    let large = format!("\"{}\"", "x".repeat(3 << 20));
    let messages = ids(8).iter().map(|run| sent(None, run, &large, None)).collect();
    assert!(all(&journal, messages).await.iter().all(|landed| *landed == Landed::Written));
    let mut looks: Vec<&NewRun> = runs.iter().collect();
    let mut rounds = Vec::new();
    while !looks.is_empty() {
        let landed = all(&journal, looks.iter().map(|run| look(run, 1, 5, rounds.is_empty())).collect()).await;
        let is_left = |landed: &Landed| *landed == Landed::Received(Received::LookAgain);
        let left: Vec<&NewRun> =
            looks.iter().zip(&landed).filter(|(_, landed)| is_left(landed)).map(|(run, _)| *run).collect();
        assert!(landed.iter().all(|landed| is_left(landed) || *landed == read(&large)));
        rounds.push(looks.len() - left.len());
        looks = left;
    }
    assert_eq!(rounds, [1; 8]);
    assert_eq!(place.count("SELECT count(*) FROM dbos.operation_outputs WHERE function_id = 2").await, 8);
}

/// A listener that has not read for days can fill the queue of notifications. That is the database's state.
#[tokio::test]
async fn a_message_waits_until_there_is_room_for_its_notification() {
    let place = Place::new().await;
    let journal = place.journal();
    let runs = place.started(&journal, &ids(3)).await;
    place
        .execute(
            "CREATE FUNCTION is_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 RAISE EXCEPTION 'too many notifications in the NOTIFY queue' USING ERRCODE = '54000';
             END $$;
             CREATE TRIGGER is_full AFTER INSERT ON dbos.notifications FOR EACH ROW EXECUTE FUNCTION is_full()",
        )
        .await;
    let waits = journal.append(sent(Some((&runs[0], 1)), "run-2", "1", None)).await.unwrap();
    assert_eq!(all(&journal, vec![recorded(&runs[1], "1")]).await, [Landed::Written]);
    place.until("SELECT xact_rollback > 1 FROM pg_stat_database WHERE datname = $1").await;
    place.execute("DROP TRIGGER is_full ON dbos.notifications").await;
    assert_eq!(waits.durable().await, Ok(Landed::Written));
    assert_eq!(place.messages("run-2").await, ["1"]);
}

/// The answer to the commit was lost: it is there when it is written again, and nobody was told.
#[tokio::test]
async fn what_turns_out_to_be_there_is_told_to_those_who_wait() {
    let place = Place::new().await;
    let (wrote, mut told) = mpsc::channel(2);
    let journal = Journal::open(&place.database, NonZeroU32::MIN, &wrote);
    let runs = place.started(&journal, &ids(2)).await;
    for fate in [Landed::Written, Landed::Exists] {
        assert_eq!(all(&journal, vec![sent(Some((&runs[0], 1)), "run-1", "1", None)]).await, [fate]);
        assert_eq!(told.try_recv(), Ok(Signal::Message(WorkflowId::stored("run-1"), topic())));
    }
}
