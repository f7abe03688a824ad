//! What loading many runs at once must keep of the promises to each, with a real Postgres.

use std::num::NonZeroU32;

use futures_util::future::join_all;

use super::*;
use crate::database::lease::LeaseConnection;
use crate::database::start::NewRun;
use crate::database::test_server::TestServer;
use crate::database::{Entry, Journal, Landed};
use crate::workflow::{AppName, Arguments, ComponentDigest, EpochMs, WorkflowId};

/// A database of its own, with started runs.
struct Place {
    database: Database,
    loader: Loader,
    claims: Vec<Claim>,
    _lease: LeaseConnection,
}

impl Place {
    async fn with_runs(count: usize) -> Self {
        let (database, incarnation, lease) = TestServer::fresh_executor().await;
        let journal = Journal::open(&database, NonZeroU32::MIN, &mpsc::channel(1).0);
        let (app, version) = (AppName::parse("shop").unwrap(), ComponentDigest::of(b""));
        let mut claims = Vec::new();
        for number in 0..count {
            let arguments = Arguments::from_json(serde_json::json!({ "number": number })).unwrap();
            let id = WorkflowId::stored(&format!("run-{number}"));
            let new = NewRun::new(id, &incarnation, "e", (&app, &version), ("buy", arguments, EpochMs(1)));
            claims.push(new.claim().clone());
            let ticket = journal.append(Entry::Start(Box::new(new))).await.unwrap();
            assert_eq!(ticket.durable().await.unwrap(), Landed::Written);
        }
        Self { loader: Loader::open(database.clone()), database, claims, _lease: lease }
    }

    async fn execute(&self, sql: &str) {
        self.database.client().await.unwrap().batch_execute(sql).await.unwrap();
    }

    /// Gives a run records.
    async fn record(&self, run: usize, steps: u32, bytes: usize) {
        self.execute(&format!(
            "INSERT INTO dbos.operation_outputs (workflow_uuid, function_id, function_name, output, completed_at_epoch_ms)
             SELECT 'run-{run}', n, 'step', to_json(n || repeat('x', {bytes}))::text, 7 FROM generate_series(1, {steps}) n"
        ))
        .await;
    }

    /// Loads all runs at once.
    async fn load_all(&self) -> Vec<Load> {
        join_all(self.claims.iter().map(async |claim| self.loader.load(claim).await.unwrap())).await
    }
}

fn ready(load: &Load) -> &Loaded {
    match load {
        Load::Ready(loaded) => loaded,
        other => panic!("the run is loaded: {other:?}"),
    }
}

#[tokio::test]
async fn each_of_many_runs_gets_what_is_its_own() {
    let place = Place::with_runs(250).await;
    for run in (0..250).step_by(3) {
        place.record(run, u32::try_from(run % 5).unwrap(), 10).await;
    }
    for (run, load) in place.load_all().await.iter().enumerate() {
        let Loaded { attempt, records } = ready(load);
        let steps = if run.is_multiple_of(3) { run % 5 } else { 0 };
        assert_eq!(records.len(), steps, "run {run}");
        assert!(records.iter().zip(1..).all(|(record, number)| record.step.get() == number), "run {run}: {records:?}");
        assert!(attempt.inputs.as_ref().is_some_and(|inputs| inputs.contains(&format!("{{\"number\":{run}}}"))));
        // The start has counted the first attempt, and a record begins the count anew.
        assert_eq!((attempt.count, attempt.name.as_str()), (if steps == 0 { 2 } else { 1 }, "buy"), "run {run}");
    }
    for (run, load) in place.load_all().await.iter().enumerate() {
        let steps = if run.is_multiple_of(3) { run % 5 } else { 0 };
        assert_eq!(ready(load).attempt.count, if steps == 0 { 3 } else { 2 }, "nothing new was recorded for run {run}");
    }
}

#[tokio::test]
async fn a_record_that_fills_a_gap_is_progress() {
    let place = Place::with_runs(1).await;
    place.record(0, 3, 1).await;
    place.execute("DELETE FROM dbos.operation_outputs WHERE function_id = 2").await;
    assert_eq!(ready(&place.load_all().await[0]).attempt.count, 1);
    assert_eq!(ready(&place.load_all().await[0]).attempt.count, 2, "nothing new was recorded");
    place.execute("INSERT INTO dbos.operation_outputs (workflow_uuid, function_id) VALUES ('run-0', 2)").await;
    let load = &place.load_all().await[0];
    assert_eq!((ready(load).attempt.count, ready(load).records.len()), (1, 3));
}

#[tokio::test]
async fn a_locked_row_holds_up_its_own_run_only() {
    let place = Place::with_runs(3).await;
    let mut other = place.database.own_client().await.unwrap();
    let lock = other.transaction().await.unwrap();
    lock.batch_execute("SELECT 1 FROM dbos.workflow_status WHERE workflow_uuid = 'run-1' FOR UPDATE").await.unwrap();
    let loads = place.load_all().await;
    assert!(matches!(&loads[..], [Load::Ready(_), Load::Locked, Load::Ready(_)]), "{loads:?}");
    lock.commit().await.unwrap();
    assert_eq!(ready(&place.loader.load(&place.claims[1]).await.unwrap()).attempt.count, 2, "the try counted nothing");
}

#[tokio::test]
async fn a_run_that_is_lost_is_neither_counted_nor_read() {
    let place = Place::with_runs(4).await;
    place
        .execute(
            "UPDATE dbos.workflow_status SET owner_xid = 'other' WHERE workflow_uuid = 'run-0';
             UPDATE dbos.workflow_status SET status = 'CANCELLED' WHERE workflow_uuid = 'run-1';
             DELETE FROM dbos.workflow_status WHERE workflow_uuid = 'run-2'",
        )
        .await;
    let loads = place.load_all().await;
    assert!(matches!(&loads[..], [Load::NotOwner, Load::NotOwner, Load::NotOwner, Load::Ready(_)]), "{loads:?}");
    let client = place.database.client().await.unwrap();
    let counted = "SELECT count(*) FROM dbos.workflow_status WHERE recovery_attempts > 1";
    assert_eq!(client.query_one(counted, &[]).await.unwrap().get::<_, i64>(0), 1);
}

#[tokio::test]
async fn what_the_server_refuses_of_one_run_costs_no_other() {
    let place = Place::with_runs(3).await;
    // The next attempt has a number that does not fit into the column.
    place
        .execute(
            "UPDATE dbos.workflow_status SET recovery_attempts = 9223372036854775807 WHERE workflow_uuid = 'run-1'",
        )
        .await;
    let loads = place.load_all().await;
    assert!(matches!(&loads[..], [Load::Ready(_), Load::Failed(_), Load::Ready(_)]), "{loads:?}");
    place.execute("UPDATE dbos.workflow_status SET recovery_attempts = 1 WHERE workflow_uuid = 'run-1'").await;
    assert!(place.load_all().await.iter().all(|load| matches!(load, Load::Ready(_))));
}

#[tokio::test]
async fn what_the_server_refuses_to_read_uses_up_no_attempt() {
    let place = Place::with_runs(2).await;
    place.load_all().await;
    let mut other = place.database.own_client().await.unwrap();
    let lock = other.transaction().await.unwrap();
    // Attempts can be counted, and histories cannot be read.
    lock.batch_execute("REINDEX INDEX dbos_host.operation_digest_pkey").await.unwrap();
    let loads = place.load_all().await;
    assert!(matches!(&loads[..], [Load::Failed(_), Load::Failed(_)]), "{loads:?}");
    lock.commit().await.unwrap();
    for load in place.load_all().await {
        assert_eq!(ready(&load).attempt.count, 3, "the start, the first load and this one");
    }
}

#[tokio::test]
async fn histories_of_all_sizes_are_read_whole() {
    let place = Place::with_runs(5).await;
    place.record(1, 12_000, 1).await;
    place.record(2, 600, 10_000).await;
    place.record(3, 900, 1_000).await;
    place.record(4, 3, 10).await;
    let steps: Vec<usize> = place.load_all().await.iter().map(|load| ready(load).records.len()).collect();
    assert_eq!(steps, [0, 12_000, 600, 900, 3]);
}

#[tokio::test]
async fn a_lost_connection_is_opened_again() {
    let place = Place::with_runs(2).await;
    place.load_all().await;
    place
        .execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        .await;
    assert!(place.load_all().await.iter().all(|load| matches!(load, Load::Ready(_))));
}
