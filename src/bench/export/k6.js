// Run: DATABASE_URL=postgres://… k6 run --vus 8 --duration 60s FILE, with a k6 that has xk6-sql and
// xk6-sql-driver-postgres built in. Each VU has one connection, whose role must be able to SET ROLE to every persona.

import sql from "k6/x/sql";
import driver from "k6/x/sql/driver/postgres";
import { check } from "k6";
import exec from "k6/execution";
import { Trend } from "k6/metrics";

const db = sql.open(driver, __ENV.DATABASE_URL);
const trends = TASKS.map((task) => new Trend(metric(task), true));
const total = TASKS.reduce((sum, task) => sum + task.weight, 0);
const KEPT = 100;

// k6 ends with 99 where the p95 of a query is over its target.
export const options = {
  summaryTrendStats: ["avg", "med", "p(90)", "p(95)", "p(99)", "max"],
  thresholds: Object.fromEntries(TASKS.map((task) => [metric(task), [`p(95)<${task.slo_ms}`]])),
};

function metric(task) {
  return `dbtune_${task.id.replace(/[^A-Za-z0-9_]/g, "_")}`.slice(0, 128);
}

// Milliseconds with fractions, which Date.now() has not.
function now() {
  return exec.instance.currentTestRunDuration;
}

// `${column}` in a text is a column of the persona's sample; alone it keeps the column's type.
function filled(value, row) {
  if (typeof value === "string") {
    const only = value.match(/^\$\{([^}]*)\}$/);
    if (only) return row[only[1]];
    return value.replace(/\$\{([^}]*)\}/g, (_, name) => row[name]);
  }
  if (Array.isArray(value)) return value.map((item) => filled(item, row));
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, filled(item, row)]));
  }
  return value;
}

function text(value) {
  if (value === null || value === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

function opened(task, settings, write, work) {
  db.exec(write ? "begin" : "begin read only");
  try {
    for (const [name, value] of Object.entries(settings)) {
      db.query("select set_config($1, $2, true)::text", name, value);
    }
    db.exec(`set local role ${task.role}`);
    return work();
  } finally {
    db.exec("rollback");
  }
}

function drawn(task) {
  if (task.values) return task.values;
  let row = {};
  if (task.sample) {
    row = JSON.parse(text(db.query(`select to_jsonb(s)::text as j from (${task.sample}) s limit 1`)[0].j));
  }
  const settings = Object.fromEntries(Object.entries(task.settings).map(([k, v]) => [k, text(filled(v, row))]));
  if (Object.keys(task.claims).length > 0) {
    settings["request.jwt.claims"] = JSON.stringify(filled(task.claims, row));
  }
  const columns = task.params.map((param) => {
    const read = () =>
      db.query(
        `select v::text as v from (${param.sql}) s(v) where v is not null order by md5(v::text) limit ${KEPT}`,
      ).map((found) => text(found.v));
    return param.owner ? read() : opened(task, settings, false, read);
  });
  const draws = [];
  for (let at = 0; at < (columns.length > 0 ? KEPT : 1); at++) {
    draws.push(columns.map((values) => values[Math.floor(Math.random() * values.length)]));
  }
  return { settings, draws };
}

export function setup() {
  return TASKS.map(drawn);
}

export default function (values) {
  let left = Math.random() * total;
  let at = TASKS.findIndex((task) => (left -= task.weight) < 0);
  if (at < 0) at = TASKS.length - 1;
  const task = TASKS[at];
  const draws = values[at].draws;
  const draw = draws[Math.floor(Math.random() * draws.length)];
  opened(task, values[at].settings, task.write, () => {
    const start = now();
    const rows = db.query(task.sql, ...draw);
    trends[at].add(now() - start);
    check(rows, { [task.id]: (found) => found !== null });
  });
}

export function teardown() {
  db.close();
}
