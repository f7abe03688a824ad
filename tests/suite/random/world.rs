//! A database, an outside, and the hosts that live and die beside each other in it.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use dbos_host_tests::http::Request;
use dbos_host_tests::wait::{some_moment, until};
use dbos_host_tests::{Answer, Database, Host, HostBuilder, Outside, TestPostgres};
use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::json;

use super::picture::Picture;
use super::program::{Draw, forked_from, program, root};

/// The lease of a host: short, so that a host which is frozen for longer loses its runs to the other.
const LEASE: Duration = Duration::from_millis(600);

/// Why a program is not forked, if it is not: behind a step that was undone.
const UNDONE: &str = "are undone, or were";

/// What happens to one life of a host.
#[derive(Debug, Clone)]
pub(super) enum Fate {
    /// It dies at this visit of any fail point.
    DiesAt(u64),
    /// It dies so long after it listens.
    DiesAfter(Duration),
    /// It is stopped so long after it listens, for longer than its lease, and goes on as if nothing had happened until it
    /// dies.
    Freezes(Duration),
    /// It is asked to stop.
    Stops(Duration),
}

impl Fate {
    pub(super) fn draw(draw: &mut Draw) -> Self {
        // Most kills are early: a life takes long until its thousandth visit.
        let time = Duration::from_millis(draw.below(400));
        match draw.below(8) {
            0..=3 => {
                let most = 2 << draw.below(11);
                Self::DiesAt(1 + draw.below(most))
            }
            4 | 5 => Self::DiesAfter(time),
            6 => Self::Freezes(time),
            _ => Self::Stops(time),
        }
    }
}

pub(super) struct World {
    database: Database,
    outside: Outside,
    host: HostBuilder,
}

/// What is going on while the hosts of a world live.
struct Scene {
    /// Where each host listens, while it does.
    urls: RefCell<Vec<Option<String>>>,
    /// The programs whose start nobody has acknowledged yet.
    to_start: RefCell<Vec<u64>>,
    /// The programs that are to be forked when they are over.
    to_fork: RefCell<Vec<u64>>,
    /// How many hosts have lived.
    lives: Cell<usize>,
}

impl World {
    pub(super) async fn new() -> Self {
        let database = TestPostgres::shared().fresh_database().await;
        let outside = Outside::answering(|request, _| {
            Answer::Reply(200, format!("told {}", request.json()["step"].as_str().unwrap_or_default()))
        })
        .await;
        let host = HostBuilder::new("anything")
            .database(&database)
            .migrations("tests/guests/anything/migrations")
            .allow(&outside.url())
            .guest_env("OUTSIDE_URL", &outside.url())
            .config("limits: { steps: 1024 }");
        host.migrate().await;
        Self { database, outside, host }
    }

    /// Runs the programs of these seeds. Each of the hosts goes through its fates, and then lives on until all is over.
    /// Returns what is left, and how many lives there were.
    pub(super) async fn run(&self, seeds: &[u64], fates: &[Vec<Fate>]) -> (Picture, usize) {
        self.clear().await;
        let scene = Scene {
            urls: RefCell::new(vec![None; fates.len()]),
            to_start: RefCell::new(seeds.to_vec()),
            to_fork: RefCell::new(seeds.iter().copied().filter(|seed| forked_from(*seed).is_some()).collect()),
            lives: Cell::new(0),
        };
        let hosts = join_all(fates.iter().enumerate().map(|(place, fates)| self.live(&scene, place, fates)));
        let (mut hosts, (), ()) = tokio::join!(hosts, start_all(&scene), self.fork_all(&scene));
        until("all runs end", async || self.is_over(&scene).await).await;
        for host in &mut hosts {
            host.kill9().await;
        }
        self.outside.settle().await;
        (Picture::take(&self.database, &self.outside).await, scene.lives.get())
    }

    /// One host goes through its fates. Returns its last life.
    async fn live(&self, scene: &Scene, place: usize, fates: &[Fate]) -> Host {
        let mut builder = self.host.clone().executor(&format!("host-{place}"));
        if !fates.is_empty() {
            builder = builder.lease(LEASE);
        }
        for fate in fates {
            scene.lives.set(scene.lives.get() + 1);
            let mut host = match fate {
                Fate::DiesAt(visit) => builder.clone().kill_at(&format!("*#{visit}")).launch(),
                _ => builder.launch(),
            };
            if host.listens().await {
                scene.urls.borrow_mut()[place] = Some(host.url(""));
                self.meet(scene, fate, &mut host).await;
                scene.urls.borrow_mut()[place] = None;
            }
            host.kill9().await;
        }
        scene.lives.set(scene.lives.get() + 1);
        let host = builder.start().await;
        scene.urls.borrow_mut()[place] = Some(host.url(""));
        host
    }

    /// Returns when the fate has met the host, or can meet it no more.
    async fn meet(&self, scene: &Scene, fate: &Fate, host: &mut Host) {
        match fate {
            Fate::DiesAt(_) => {
                until("the host dies or all is over", async || host.has_ended() || self.is_over(scene).await).await;
            }
            Fate::DiesAfter(time) => some_moment(*time).await,
            Fate::Freezes(time) => {
                some_moment(*time).await;
                host.signal(Signal::STOP);
                some_moment(LEASE * 2).await;
                host.signal(Signal::CONT);
                some_moment(*time).await;
            }
            Fate::Stops(time) => {
                some_moment(*time).await;
                assert!(host.stop().await.success(), "a host that is asked to stop ends well");
            }
        }
    }

    /// True when every program was started, every run has ended, and nothing is left to be undone.
    async fn is_over(&self, scene: &Scene) -> bool {
        let is_begun = scene.to_start.borrow().is_empty() && scene.to_fork.borrow().is_empty();
        is_begun && self.database.count(&open("true"), &[]).await == 0
    }

    /// Forks each program that is to be forked when nothing of it goes on any more: what a fork is given is certain then.
    async fn fork_all(&self, scene: &Scene) {
        until("every program is forked", async || {
            let seeds = scene.to_fork.borrow().clone();
            let started = scene.to_start.borrow().clone();
            for seed in seeds.into_iter().filter(|seed| !started.contains(seed)) {
                let (run, step) = (root(seed), forked_from(seed).expect("it is to be forked"));
                let of_it = format!("s.workflow_uuid = '{run}' OR starts_with(s.workflow_uuid, '{run}-')");
                if self.database.count(&open(&of_it), &[]).await > 0 {
                    continue;
                }
                let (step, fork) = (step.to_string(), format!("{run}-fork"));
                let done = self.host.output(&["workflow", "fork", &run, "--id", &fork, "--step", &step]).await;
                let said = String::from_utf8_lossy(&done.stderr).into_owned();
                // In any other life just as well: the picture shows whether there is a fork.
                assert!(done.status.success() || said.contains(UNDONE), "{run}: {said}");
                scene.to_fork.borrow_mut().retain(|other| *other != seed);
            }
            scene.to_fork.borrow().is_empty()
        })
        .await;
    }

    /// Empties every table that knows runs, so that a program has the same ids in each world.
    async fn clear(&self) {
        let of_runs = "SELECT DISTINCT table_schema || '.' || table_name FROM information_schema.columns
                        JOIN information_schema.tables USING (table_schema, table_name)
                        WHERE table_schema IN ('dbos', 'dbos_host') AND table_type = 'BASE TABLE'
                          AND column_name IN ('workflow_uuid', 'destination_uuid')";
        let mut tables: Vec<String> = self.database.query(of_runs, &[]).await.iter().map(|row| row.get(0)).collect();
        assert!(tables.len() > 5, "the tables of runs: {tables:?}");
        tables.push("public.effects".to_owned());
        self.database.execute(&format!("TRUNCATE {} CASCADE", tables.join(", "))).await;
        self.outside.clear();
    }
}

/// Counts the runs that go on, or have steps that are still to be undone. One statement: a run that undoes another is there
/// before that one's saga is gone.
fn open(which: &str) -> String {
    format!(
        "SELECT count(*) FROM dbos.workflow_status s
          WHERE ({which}) AND (s.status IN ('PENDING', 'ENQUEUED', 'DELAYED') OR (s.status IN ('ERROR', 'CANCELLED') AND EXISTS (
                SELECT FROM dbos_host.saga g WHERE g.workflow_uuid = s.workflow_uuid)))"
    )
}

/// Starts all programs, each at whichever host listens, until every start is acknowledged.
async fn start_all(scene: &Scene) {
    until("every start is acknowledged", async || {
        let urls: Vec<String> = scene.urls.borrow().iter().flatten().cloned().collect();
        let seeds = scene.to_start.borrow().clone();
        if urls.is_empty() {
            return false;
        }
        let start = async |(nr, seed): (usize, u64)| {
            let id = root(seed);
            let arguments = json!({ "run": id, "program": program(seed) });
            let url = format!("{}/workflows/anything", urls[nr % urls.len()]);
            let request =
                Request::post(url, &arguments).header("idempotency-key", &id).header("prefer", "respond-async");
            let reply = request.send().await;
            // No answer, or that of a host which stops: it is asked again.
            (!reply.is_ok_and(|reply| reply.status == 202)).then_some(seed)
        };
        let asked = join_all(seeds.into_iter().enumerate().map(start)).await;
        *scene.to_start.borrow_mut() = asked.into_iter().flatten().collect();
        scene.to_start.borrow().is_empty()
    })
    .await;
}
