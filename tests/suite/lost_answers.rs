//! A commit whose answer is lost may have landed or not, or may land later: whichever it is, nothing happens twice and
//! nothing is lost.
//!
//! A proxy between the host and Postgres cuts the connection at one statement. The host stays alive, so a request to the
//! outside is never repeated here: what was lost is only the way to the record.

use dbos_host_tests::{Cut, Host, Proxy, TestPostgres, eventually};
use serde_json::json;

use crate::small_steps::{World, arguments};

/// The three ways, in the order in which they are tried.
const CUTS: [Cut; 3] = [Cut::NotLanded, Cut::Landed, Cut::Late];

/// A host that reaches its database through a proxy.
struct Cable {
    world: World,
    proxy: Proxy,
    host: Host,
}

impl Cable {
    async fn lay() -> Self {
        let world = World::on(TestPostgres::shared()).await;
        let proxy = Proxy::before(TestPostgres::shared()).await;
        let host = world.host().database_url(&proxy.url(&world.database)).start().await;
        Self { world, proxy, host }
    }

    /// Runs a workflow while the connection is cut at the first statement with this text, and returns its id.
    async fn run(&self, workflow: &str, sql: &str, cut: Cut) -> String {
        let run = format!("{workflow} with {sql} cut {cut:?}");
        let (cuts, delivered) = (self.proxy.cuts(), self.proxy.delivered_late());
        self.proxy.cut_at(sql, cut);
        let reply = self.host.run_workflow(workflow, &run, &arguments(&run)).await.unwrap();
        assert_eq!(reply.status, 200, "{run}: {reply:?}");
        assert_eq!(self.proxy.cuts(), cuts + 1, "{run}: the connection was cut once");
        if cut == Cut::Late {
            let all = async || (self.proxy.delivered_late() > delivered).then_some(());
            eventually("the late statement was delivered", all).await;
        }
        run
    }
}

#[tokio::test]
async fn a_start_whose_answer_is_lost_is_one_run() {
    let cable = Cable::lay().await;
    for cut in CUTS {
        let run = cable.run("write_tell_write", "INSERT INTO dbos.workflow_status", cut).await;
        cable.world.check_write_tell_write(&run, 1).await;
    }
}

#[tokio::test]
async fn a_record_whose_answer_is_lost_is_written_once() {
    let cable = Cable::lay().await;
    for cut in CUTS {
        // Transactions are recorded by a function, so this is the request's record.
        let run = cable.run("write_tell_write", "INSERT INTO dbos.operation_outputs", cut).await;
        cable.world.check_write_tell_write(&run, 1).await;
    }
}

#[tokio::test]
async fn an_outcome_whose_answer_is_lost_is_the_outcome() {
    let cable = Cable::lay().await;
    for cut in CUTS {
        let run = cable.run("write_tell_write", "INSERT INTO dbos.workflow_output", cut).await;
        cable.world.check_write_tell_write(&run, 1).await;
    }
}

#[tokio::test]
async fn a_transaction_whose_commit_is_lost_takes_effect_once_at_each_level() {
    let cable = Cable::lay().await;
    for level in ["serializable", "repeatable_read", "read_committed"] {
        for statement in ["dbos_host.end_transaction", "COMMIT"] {
            for cut in CUTS {
                let run = cable.run(level, statement, cut).await;
                assert_eq!(cable.world.database.output(&run).await, json!(1), "{run}");
                assert_eq!(cable.world.effects(&run).await, ["only"], "{run}");
                assert_eq!(cable.world.database.steps(&run).await.len(), 1, "{run}");
            }
        }
    }
}

#[tokio::test]
async fn a_childs_start_whose_answer_is_lost_is_one_child() {
    let cable = Cable::lay().await;
    for cut in CUTS {
        // Only a child's start has a parent.
        let run = cable.run("parent", "parent_workflow_id", cut).await;
        assert_eq!(cable.world.database.output(&run).await, json!(1), "{run}");
        assert_eq!(cable.world.effects(&run).await, ["only"], "{run}");
        let steps = cable.world.database.steps(&run).await;
        assert_eq!(steps.len(), 2, "the start and its result: {steps:?}");
    }
}
