//! One lane of the sweep: a database, an outside and a host, which live through one crash after the other.
//!
//! All crashes of a lane happen to a run of the same id with the same arguments, in tables that were emptied, so that
//! what is left can be compared to the last byte, digests included.

use dbos_host_tests::wait::until;
use dbos_host_tests::{Answer, Database, Host, HostBuilder, Outside, Received, TestPostgres};
use serde_json::Value;

use super::picture::{Picture, Rules};

/// The id of every run that is swept.
pub(super) const RUN: &str = "swept";

/// How often a host looks for deadlines that have passed: as often as it can, since the clock jumps past them.
const LOOK_EVERY_MS: &str = "20";

/// A program whose crashes are swept.
#[derive(Clone)]
pub(super) struct Program {
    pub(super) guest: &'static str,
    pub(super) workflow: &'static str,
    pub(super) arguments: Value,
    pub(super) migrations: &'static str,
    /// The query for the rows that its transactions leave, one text each.
    pub(super) effects: &'static str,
    /// The table of these rows.
    pub(super) table: &'static str,
    pub(super) leaves_a_row: fn(&str) -> bool,
    /// How many visits of each fail point are crashes, drawn; all of them if there are no more.
    pub(super) visits_each: usize,
    /// The status in which each run ends.
    pub(super) end_of: fn(&str) -> &'static str,
    pub(super) answer: fn(&Received, &[Received]) -> Answer,
    /// The variable with the outside's URL, and others.
    pub(super) url_variable: &'static str,
    pub(super) variables: &'static [(&'static str, &'static str)],
}

/// How a life of a host ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Death {
    /// At the fail point.
    Killed,
    /// The run was over before.
    NotReached,
}

/// What became of a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Swept {
    /// The host died before the start was durable; nobody had been promised anything.
    NeverStarted,
    /// The run came to its end without a visit of the first point.
    NotReached,
    /// The run came to its end after this many deaths.
    Finished(usize),
}

pub(super) struct Lane {
    program: Program,
    database: Database,
    outside: Outside,
    host: HostBuilder,
}

impl Lane {
    pub(super) async fn new(program: &Program) -> Self {
        let database = TestPostgres::shared().fresh_database().await;
        let outside = Outside::answering(program.answer).await;
        let mut host = HostBuilder::new(program.guest)
            .database(&database)
            .migrations(program.migrations)
            .jumping_clock()
            .environment("DBOS_HOST_TEST_LOOK_MS", LOOK_EVERY_MS)
            .allow(&outside.url())
            .guest_env(program.url_variable, &outside.url());
        for (name, value) in program.variables {
            host = host.guest_env(name, value);
        }
        host.migrate().await;
        Self { program: program.clone(), database, outside, host }
    }

    async fn clear(&self) {
        self.database
            .query(
                &format!(
                    "WITH a AS (DELETE FROM dbos.workflow_status), b AS (DELETE FROM dbos.workflow_input),
                          c AS (DELETE FROM dbos.workflow_output), d AS (DELETE FROM dbos.operation_outputs),
                          e AS (DELETE FROM dbos_host.operation_digest), f AS (DELETE FROM dbos_host.attempt),
                          g AS (DELETE FROM dbos_host.saga), h AS (DELETE FROM dbos_host.undo), i AS (DELETE FROM {})
                     SELECT 1",
                    self.program.table
                ),
                &[],
            )
            .await;
        self.outside.clear();
    }

    /// Lets the run end undisturbed. Returns the visits of fail points in their order, and what is left.
    pub(super) async fn undisturbed(&self) -> (Vec<String>, Rules) {
        self.clear().await;
        let builder = self.host.clone().note_visits();
        let mut host = builder.start().await;
        host.start_workflow(self.program.workflow, RUN, &self.program.arguments).await;
        self.wait_for_end().await;
        let undisturbed = self.picture(&mut host).await;
        let ends = undisturbed.runs.iter().map(|(run, (status, ..))| (run, status));
        let mut as_expected = ends.map(|(run, status)| status == (self.program.end_of)(run));
        let is_well = !undisturbed.runs.is_empty() && as_expected.all(|is_expected| is_expected);
        assert!(is_well, "the undisturbed run ends as it should: {undisturbed:#?}");
        let rules = Rules { undisturbed, leaves_a_row: self.program.leaves_a_row };
        rules.check_crash("undisturbed", &rules.undisturbed);
        (builder.visits(), rules)
    }

    /// Kills the host at a visit, restarts it to be killed at a second visit, restarts it again, and checks what is left.
    pub(super) async fn crash(&self, rules: &Rules, first: &str, second: Option<&str>) -> Swept {
        let case = format!("killed at {first}, then at {second:?}");
        self.clear().await;
        let mut host = self.host.clone().kill_at(first).launch();
        let mut acknowledged = false;
        if host.listens().await {
            let reply = host.ask_to_start(self.program.workflow, RUN, &self.program.arguments).await;
            acknowledged = reply.is_ok_and(|reply| reply.status == 202);
        }
        let death = self.wait_for_death(&mut host).await;
        let picture = self.picture(&mut host).await;
        if death == Death::NotReached {
            rules.check_end(&case, &[], &picture);
            return Swept::NotReached;
        }
        let mut deaths = vec![picture];
        rules.check_crash(&case, &deaths[0]);
        if deaths[0].runs.is_empty() {
            assert!(!acknowledged, "{case}: the start was acknowledged and is gone");
            assert_eq!(deaths[0], Picture::default(), "{case}: nothing begins before the start is durable");
            return Swept::NeverStarted;
        }
        if let Some(second) = second {
            let mut host = self.host.clone().kill_at(second).launch();
            let death = self.wait_for_death(&mut host).await;
            if death == Death::Killed {
                deaths.push(self.picture(&mut host).await);
                rules.check_crash(&case, &deaths[1]);
            }
        }
        let mut host = self.host.start().await;
        self.wait_for_end().await;
        let end = self.picture(&mut host).await;
        rules.check_end(&case, &deaths, &end);
        Swept::Finished(deaths.len())
    }

    /// Waits until the process is dead, or until there is nothing left to be done in which it could die.
    async fn wait_for_death(&self, host: &mut Host) -> Death {
        until("the host dies or the run ends", async || host.has_ended() || self.is_over().await).await;
        // Its last visits come after the outcome's commit; they are a matter of microseconds, but not ours to wait for
        // in a run that will not visit its point at all.
        if host.has_ended() || host.ends_soon().await { Death::Killed } else { Death::NotReached }
    }

    async fn wait_for_end(&self) {
        until("all runs end", async || self.is_over().await).await;
    }

    async fn is_over(&self) -> bool {
        // A run that is to be undone has a saga until what undoes it is there.
        let is_over = "SELECT count(*) > 0 AND bool_and(status NOT IN ('PENDING', 'ENQUEUED'))
                              AND NOT EXISTS (SELECT FROM dbos_host.saga)
                         FROM dbos.workflow_status";
        self.database.query(is_over, &[]).await[0].get(0)
    }

    /// Kills the host if it is alive, waits until nothing that it sent is on its way any more, and looks at what is left.
    async fn picture(&self, host: &mut Host) -> Picture {
        host.kill9().await;
        // A backend may still be committing what its dead client sent.
        let others = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
        until("the dead host's sessions end", async || self.database.count(others, &[]).await == 0).await;
        self.outside.settle().await;
        let mut picture = Picture::default();
        let runs = "SELECT s.workflow_uuid, s.status, s.name, o.output, o.error
                      FROM dbos.workflow_status s LEFT JOIN dbos.workflow_output o USING (workflow_uuid)";
        for row in self.database.query(runs, &[]).await {
            let id: String = row.get(0);
            for step in self.database.steps(&id).await {
                picture.steps.insert((id.clone(), step.number), step);
            }
            picture.runs.insert(id, (row.get(1), row.get(2), row.get(3), row.get(4)));
        }
        let events = "SELECT workflow_uuid, function_id, key, value FROM dbos.workflow_events_history";
        for row in self.database.query(events, &[]).await {
            picture.events.insert((row.get(0), row.get(1)), (row.get(2), row.get(3)));
        }
        for row in self.database.query("SELECT workflow_uuid, key, value FROM dbos.workflow_events", &[]).await {
            picture.last_events.insert((row.get(0), row.get(1)), row.get(2));
        }
        let streams = "SELECT workflow_uuid, function_id, key, \"offset\", value FROM dbos.streams";
        for row in self.database.query(streams, &[]).await {
            picture.streams.insert((row.get(0), row.get(1)), (row.get(2), row.get(3), row.get(4)));
        }
        let messages = "SELECT destination_uuid, topic, message, consumed_by_function_id FROM dbos.notifications
                         WHERE consumed = (consumed_by_function_id IS NOT NULL) ORDER BY 1, 4, created_at_epoch_ms";
        for row in self.database.query(messages, &[]).await {
            picture.messages.push((row.get(0), row.get(1), row.get(2), row.get(3)));
        }
        picture.effects = self.database.query(self.program.effects, &[]).await.iter().map(|row| row.get(0)).collect();
        for request in self.outside.received() {
            let key = request.header("idempotency-key").expect("every request of a swept program has a key");
            *picture.requests.entry(step_of(key)).or_default() += 1;
        }
        picture
    }
}

/// The run and the step in a key, `<run>-<step>-<n>`.
fn step_of(key: &str) -> (String, i32) {
    let step = key.rsplit_once('-').and_then(|(step, _)| step.rsplit_once('-'));
    let (run, number) = step.unwrap_or_else(|| panic!("not a key of the host: `{key}`"));
    (run.to_owned(), number.parse().unwrap())
}
