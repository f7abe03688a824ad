//! The guest `small_steps` with everything around it, for the tests of fencing, lost answers and restarts.

use dbos_host_tests::{Answer, Database, Gate, Host, HostBuilder, Outside, TestPostgres};
use serde_json::{Value, json};

/// A database with the guest's table, and an outside that counts.
pub(crate) struct World {
    pub(crate) database: Database,
    pub(crate) outside: Outside,
}

impl World {
    pub(crate) async fn on(server: &TestPostgres) -> Self {
        let outside = Outside::answering(|_, _| Answer::json(&json!("heard"))).await;
        Self::with(server, outside).await
    }

    /// A world whose first request is answered when the gate is open, and the others at once.
    pub(crate) async fn with_a_late_answer() -> (Self, Gate) {
        let gate = Gate::closed();
        let held = gate.clone();
        let outside = Outside::answering(move |_, earlier| match earlier.len() {
            0 => Answer::json(&json!("late")).held_by(&held),
            _ => Answer::json(&json!("heard")),
        })
        .await;
        (Self::with(TestPostgres::shared(), outside).await, gate)
    }

    pub(crate) async fn with(server: &TestPostgres, outside: Outside) -> Self {
        let world = Self { database: server.fresh_database().await, outside };
        world.host().migrate().await;
        world
    }

    /// How a host of this world is run.
    pub(crate) fn host(&self) -> HostBuilder {
        HostBuilder::new("small_steps")
            .database(&self.database)
            .migrations("tests/guests/small_steps/migrations")
            .guest_env("OUTSIDE_URL", &self.outside.url())
            .allow(&self.outside.url())
    }

    /// The steps whose transactions left a row for a run, one entry for each row.
    pub(crate) async fn effects(&self, run: &str) -> Vec<String> {
        let rows = self.database.query("SELECT step FROM effects WHERE run = $1 ORDER BY ctid", &[&run]).await;
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// How many requests a run has sent.
    pub(crate) fn told(&self, run: &str) -> usize {
        self.outside.count(|request| request.json()["run"] == run)
    }

    /// `write_tell_write` has ended as if nothing had happened to it.
    pub(crate) async fn check_write_tell_write(&self, run: &str, requests: usize) {
        assert_eq!(self.database.output(run).await, json!("\"heard\""), "{run}");
        assert_eq!(self.effects(run).await, ["before", "after"], "{run}");
        assert_eq!(self.told(run), requests, "requests of {run}");
        let steps = self.database.steps(run).await;
        let steps: Vec<_> = steps.iter().map(|step| (step.number, step.name.as_str())).collect();
        assert_eq!(steps, [(1, "write_serializable"), (2, "tell"), (3, "write_serializable")], "{run}");
    }

    /// Takes a run away from whoever owns it, as another host would.
    pub(crate) async fn take_away(&self, run: &str) {
        let taken = self
            .database
            .query(
                "UPDATE dbos.workflow_status SET owner_xid = 'other', executor_id = 'other'
                  WHERE workflow_uuid = $1 AND status = 'PENDING' RETURNING 1",
                &[&run],
            )
            .await;
        assert_eq!(taken.len(), 1, "there is a run `{run}` to be taken away");
    }
}

/// The arguments of all workflows of the guest.
pub(crate) fn arguments(run: &str) -> Value {
    json!({ "run": run })
}

/// Starts a run under an id and does not wait for its end.
pub(crate) async fn start(host: &Host, workflow: &str, run: &str) {
    host.start_workflow(workflow, run, &arguments(run)).await;
}
