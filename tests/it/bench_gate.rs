//! The gate's own error rates: how often it cries wolf where nothing changed, and how often it finds what became slower.
//!
//! Long, so asked for: `make bench-gate`. `DBTUNE_GATE_RUNS` (100) whole runs of each setting, each of
//! `DBTUNE_GATE_SECONDS` (60); `DBTUNE_GATE_SETTINGS` names some of the settings; `DBTUNE_GATE_FROM` is the number of the first run
//! (0), on which the query that is made slower depends; `DBTUNE_GATE_KEEP` is a folder for the samples of every run.

use crate::pair::Pair;
use crate::server::{self, Db};
use dbtune::bench::{Effort, Gate, Judged, Measured, judge, measure_pair};
use dbtune::config::parse_workload;
use dbtune::db::{Defaults, Limits, Session, Target, Way, resolve};
use dbtune::model::{Outcome, Verdict, Workload};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What the slowest draws of each query take, in milliseconds.
const TARGETS: [f64; 20] = [
    0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.0, 1.5, 2.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 15.0,
    18.0, 20.0,
];
/// Rows that each execution reads through the policy.
const ROWS: u32 = 10;

/// Each query has a table and a policy of its own, so that one can be made slower alone.
const SETUP: &str = "
do $$ begin create role gate_app nologin; exception when duplicate_object then null; end $$;
do $$ begin create role gate_owner login createdb; exception when duplicate_object then null; end $$;
grant gate_app to gate_owner;
create function my_tenant() returns int stable language sql as
$$ select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'tenant')::int $$;
-- So much work of the processor, and true.
create function spent(units float8) returns bool language plpgsql stable as
$$ begin for i in 1..units::int loop end loop; return true; end $$;
grant create on schema public to gate_owner;
";

struct Setting {
    name: &'static str,
    /// What p95 of one query is made longer by, in percent.
    slower: f64,
    /// Whether another process burns a core.
    burning: bool,
}

const SETTINGS: [Setting; 6] = [
    Setting {
        name: "same",
        slower: 0.0,
        burning: false,
    },
    Setting {
        name: "same-burning",
        slower: 0.0,
        burning: true,
    },
    Setting {
        name: "slower-10",
        slower: 10.0,
        burning: false,
    },
    Setting {
        name: "slower-20",
        slower: 20.0,
        burning: false,
    },
    Setting {
        name: "slower-50",
        slower: 50.0,
        burning: false,
    },
    Setting {
        name: "slower-20-burning",
        slower: 20.0,
        burning: true,
    },
];

/// How long a unit of [`SETUP`]'s `spent` takes, and what a query takes without any, in milliseconds.
#[derive(Clone, Copy)]
struct Costs {
    unit: f64,
    rest: f64,
}

#[derive(Default)]
struct Counts {
    runs: usize,
    /// Runs whose gate failed because of a query that was not made slower.
    alarms: usize,
    /// Runs whose gate failed because of the one that was.
    found: usize,
    inconclusive: usize,
    seconds: f64,
    alarmed: Vec<String>,
    missed: Vec<String>,
}

#[tokio::test]
#[ignore = "hours: make bench-gate"]
async fn error_rates() {
    let environment = server::environment();
    let variable = |name: &str| environment.get(name).cloned();
    let number =
        |name: &str, default: usize| variable(name).map_or(default, |v| v.parse().unwrap());
    let runs = number("DBTUNE_GATE_RUNS", 100);
    let seconds = number("DBTUNE_GATE_SECONDS", 60);
    let first = number("DBTUNE_GATE_FROM", 0);
    let only = variable("DBTUNE_GATE_SETTINGS");
    let keep = variable("DBTUNE_GATE_KEEP");
    let (_db, target, costs) = ground().await;
    println!(
        "20 queries of {} to {} ms, {seconds} s a run; a unit takes {:.1} ns, no unit {:.3} ms",
        TARGETS[0],
        TARGETS[19],
        costs.unit * 1e6,
        costs.rest
    );
    for setting in SETTINGS {
        if only
            .as_ref()
            .is_some_and(|o| !o.split(',').any(|n| n == setting.name))
        {
            continue;
        }
        let mut counts = Counts::default();
        println!("{}", setting.name);
        for run in first..first + runs {
            let start = Instant::now();
            let slowed = (setting.slower > 0.0).then(|| (7 * run + 3) % TARGETS.len());
            let (measured, judged) = one(&target, &setting, slowed, costs, seconds).await;
            counts.add(slowed, &judged, start.elapsed());
            println!("  {}", counts.so_far());
            if let Some(folder) = &keep {
                let text = serde_json::to_string(&measured).unwrap();
                std::fs::write(format!("{folder}/{}-{run}.json", setting.name), text).unwrap();
            }
        }
        println!("{}", counts.line(&setting));
    }
}

impl Counts {
    fn add(&mut self, slowed: Option<usize>, judged: &Judged, took: Duration) {
        let slowed = slowed.map(|at| format!("{}@seven", name(at)));
        let bad: Vec<_> = judged
            .comparisons
            .iter()
            .filter(|c| {
                matches!(
                    c.verdict,
                    Verdict::Slower | Verdict::OverSlo | Verdict::Differs
                )
            })
            .collect();
        let others: Vec<_> = bad
            .iter()
            .filter(|c| Some(&c.query) != slowed.as_ref())
            .map(|c| format!("{} {:?}", c.query, c.reasons))
            .collect();
        self.runs += 1;
        self.seconds += took.as_secs_f64();
        self.alarms += usize::from(!others.is_empty());
        self.alarmed.extend(others);
        let found = bad.iter().any(|c| Some(&c.query) == slowed.as_ref());
        self.found += usize::from(found);
        self.inconclusive += usize::from(judged.outcome == Outcome::Inconclusive);
        if let Some(slowed) = slowed.filter(|_| !found) {
            let missed = judged.comparisons.iter().find(|c| c.query == slowed);
            self.missed.extend(missed.map(|c| {
                format!(
                    "{slowed} {:?} {:.3} -> {:.3} ms {:?}",
                    c.verdict, c.before.p95_ms, c.after.p95_ms, c.ratios
                )
            }));
        }
    }

    /// After each run, so that a series that is broken off has told what it found.
    fn so_far(&self) -> String {
        format!(
            "{} runs, {} false alarms, {} found, {} inconclusive, {:.0} s",
            self.runs, self.alarms, self.found, self.inconclusive, self.seconds
        )
    }

    fn line(&self, setting: &Setting) -> String {
        #[expect(clippy::cast_precision_loss, reason = "a number of runs")]
        let mean = self.seconds / self.runs.max(1) as f64;
        format!(
            "{:18} runs {:3}  false alarms {:2}  found {:3}  inconclusive {:2}  mean {mean:.0} s\n  {}",
            setting.name,
            self.runs,
            self.alarms,
            if setting.slower > 0.0 {
                self.found.to_string()
            } else {
                "-".to_owned()
            },
            self.inconclusive,
            [self.alarmed.as_slice(), self.missed.as_slice()]
                .concat()
                .join("\n  "),
        )
    }
}

fn name(at: usize) -> String {
    format!("q{at:02}")
}

async fn one(
    source: &Target,
    setting: &Setting,
    slowed: Option<usize>,
    costs: Costs,
    seconds: usize,
) -> (Vec<Measured>, Judged) {
    let pair = Pair::open(source).await.unwrap();
    if let Some(at) = slowed {
        let session = Session::connect(pair.after(), "test").await.unwrap();
        let sql = format!(
            "alter policy mine on w{at:02} using ({})",
            policy(factor(at, setting.slower, costs))
        );
        session.execute("slow down", &sql).await.unwrap();
    }
    pair.settle().await.unwrap();
    let workload = workload(pair.before()).await;
    let limits = Limits::default();
    let effort = Effort {
        duration: Duration::from_secs(seconds as u64),
        limits,
        gate: Gate::new(10.0, workload.queries.len(), limits.statement),
        way: Way::default(),
    };
    let burner = Burner::start(setting.burning);
    let measured = measure_pair(
        pair.before(),
        pair.after(),
        &workload,
        effort,
        &mut |_, _, _| {},
    )
    .await
    .unwrap();
    drop(burner);
    pair.close().await.unwrap();
    let judged = judge(&measured, &effort.gate, true);
    (measured, judged)
}

/// A thread that does nothing, as fast as it can.
struct Burner(Arc<AtomicBool>);

impl Burner {
    fn start(wanted: bool) -> Option<Self> {
        let on = Arc::new(AtomicBool::new(wanted));
        let seen = Arc::clone(&on);
        wanted.then(|| {
            std::thread::spawn(move || {
                while seen.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
            Self(on)
        })
    }
}

impl Drop for Burner {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

fn policy(factor: f64) -> String {
    format!("tenant = (select my_tenant()) and spent(units * {factor:.4})")
}

/// By how much more the units must take for the whole query to take `percent` more.
fn factor(at: usize, percent: f64, costs: Costs) -> f64 {
    let units = (TARGETS[at] - costs.rest).max(TARGETS[at] / 4.0);
    1.0 + percent / 100.0 * (units + costs.rest) / units
}

async fn workload(target: &Target) -> Workload {
    let mut text = "version: 1\nseed: 5\npersonas:\n  seven: { role: gate_app, claims: { tenant: 7 } }\nqueries:\n".to_owned();
    for at in 0..TARGETS.len() {
        text += &format!(
            "  - name: {}\n    personas: [seven]\n    sql: select count(*) from w{at:02} where part = $1\n    \
             params: [{{ type: int, as: owner, sql: 'select generate_series(0, 19)' }}]\n",
            name(at)
        );
    }
    let file = parse_workload("w.yaml", &text).unwrap();
    let session = Session::connect(target, "test").await.unwrap();
    resolve(&session, &file, Defaults::default()).await.unwrap()
}

/// The database to clone, as the role that owns it.
async fn ground() -> (Db, Target, Costs) {
    let db = server::fresh("gate").await;
    let client = db.client().await;
    let sql = format!("alter database \"{}\" owner to gate_owner", db.name);
    client.batch_execute(SETUP).await.unwrap();
    client.batch_execute(&sql).await.unwrap();
    let costs = costs(&client).await;
    let mut sql = String::new();
    for (at, target) in TARGETS.iter().enumerate() {
        let units = (target - costs.rest).max(target / 4.0) / costs.unit / f64::from(ROWS);
        // The parameter's parts take from two fifths to the whole of it.
        sql += &format!(
            "create table w{at:02} (id int primary key, part int not null, tenant int not null, units float8 not null);
             insert into w{at:02} select i, i % 20, 7, {units} * (0.4 + 0.6 * (i % 20) / 19) from generate_series(1, 20 * {ROWS}) i;
             create index on w{at:02} (part);
             alter table w{at:02} enable row level security;
             create policy mine on w{at:02} to gate_app using ({});
             grant select on w{at:02} to gate_app;
             alter table w{at:02} owner to gate_owner;\n",
            policy(1.0)
        );
    }
    client.batch_execute(&sql).await.unwrap();
    drop(client);
    let url = db.url_as("gate_owner");
    (
        db,
        Target::resolve(Some(&url), &BTreeMap::default()).unwrap(),
        costs,
    )
}

/// The least of many, because the machine only ever adds.
async fn costs(client: &tokio_postgres::Client) -> Costs {
    let statement = client
        .prepare("select spent($1) from generate_series(1, 10)")
        .await
        .unwrap();
    let mut least = [f64::INFINITY; 2];
    for _ in 0..200 {
        for (units, least) in [0.0_f64, 2000.0].iter().zip(&mut least) {
            let start = Instant::now();
            client.query(&statement, &[units]).await.unwrap();
            *least = least.min(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    Costs {
        unit: (least[1] - least[0]) / 20_000.0,
        rest: least[0],
    }
}
