//! A database that is in trouble when a record is to be written is waited for: its trouble is not the step's error, and
//! never a workflow's outcome.

use dbos_host_tests::TestPostgres;
use serde_json::json;

use crate::small_steps::{World, arguments};

/// What a database says that is full, busy or being looked after: disk full, out of memory, a statement cancelled by its
/// time limit or an administrator, a lock not had in time, too many connections.
const TROUBLES: [&str; 5] = ["53100", "53200", "57014", "55P03", "53300"];

/// The first two attempts to write a record of this step meet trouble; what comes then is written. A sequence counts,
/// since nothing else outlives what is rolled back.
async fn make_trouble(world: &World, step: &str, code: &str) {
    for statement in [
        "CREATE SEQUENCE IF NOT EXISTS public.troubles".to_owned(),
        "ALTER SEQUENCE public.troubles RESTART".to_owned(),
        format!(
            "CREATE OR REPLACE FUNCTION public.trouble() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 IF nextval('public.troubles') <= 2 THEN
                     RAISE EXCEPTION 'the database is in trouble' USING ERRCODE = '{code}';
                 END IF;
                 RETURN NEW;
             END $$"
        ),
        format!(
            "CREATE OR REPLACE TRIGGER trouble BEFORE INSERT ON dbos.operation_outputs
             FOR EACH ROW WHEN (NEW.function_name = '{step}') EXECUTE FUNCTION public.trouble()"
        ),
    ] {
        world.database.execute(&statement).await;
    }
}

async fn troubles(world: &World) -> i64 {
    world.database.count("SELECT last_value FROM public.troubles", &[]).await
}

#[tokio::test]
async fn trouble_with_the_record_of_a_transaction_is_not_the_steps_error() {
    let world = World::on(TestPostgres::shared()).await;
    let host = world.host().start().await;
    for code in TROUBLES {
        for level in ["serializable", "read_committed"] {
            make_trouble(&world, &format!("write_{level}"), code).await;
            let run = format!("{level} {code}");
            let reply = host.run_workflow(level, &run, &arguments(&run)).await.unwrap();
            assert_eq!((reply.status, reply.json()), (200, json!(1)), "{run}: {reply:?}");
            assert_eq!(
                troubles(&world).await,
                3,
                "{run}: the first two writes met trouble, and the third was the last"
            );
            assert_eq!(world.effects(&run).await, ["only"], "{run}");
            let [step] = &world.database.steps(&run).await[..] else { panic!("{run}: there is one record") };
            assert_eq!((step.output.as_deref(), step.error.as_deref()), (Some("1"), None), "{run}");
        }
    }
}

#[tokio::test]
async fn trouble_with_the_record_of_a_communicator_is_not_the_steps_error() {
    let world = World::on(TestPostgres::shared()).await;
    let host = world.host().start().await;
    for code in TROUBLES {
        let run = format!("tell {code}");
        make_trouble(&world, "tell", code).await;
        let reply = host.run_workflow("write_tell_write", &run, &arguments(&run)).await.unwrap();
        assert_eq!((reply.status, reply.json()), (200, json!("\"heard\"")), "{run}: {reply:?}");
        assert_eq!(troubles(&world).await, 3, "{run}");
        world.check_write_tell_write(&run, 1).await;
    }
}

/// Whatever its reason: nobody knows what a database will not take, with what others have added to its tables.
#[tokio::test]
async fn an_outcome_that_is_refused_whatever_it_says_is_tried_again_later_not_at_once() {
    let world = World::on(TestPostgres::shared()).await;
    let host = world.host().start().await;
    for statement in [
        "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE EXCEPTION 'no outcomes today' USING ERRCODE = '22000'; END $$",
        "CREATE TRIGGER refuse BEFORE INSERT ON dbos.workflow_output FOR EACH ROW EXECUTE FUNCTION public.refuse()",
    ] {
        world.database.execute(statement).await;
    }
    host.start_workflow("serializable", "refused", &arguments("refused")).await;
    host.wait_for_log("no outcomes today").await;
    host.wait_for_log("the next one begins in").await;
    world.database.execute("DROP TRIGGER refuse ON dbos.workflow_output").await;
    let reply = host.run_workflow("serializable", "refused", &arguments("refused")).await.unwrap();
    assert_eq!((reply.status, reply.json()), (200, json!(1)), "{reply:?}");
    assert_eq!(world.effects("refused").await, ["only"]);
}
