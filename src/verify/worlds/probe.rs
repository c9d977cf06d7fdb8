//! What an identity does in a world: every statement whose policies differ from another's (PostgreSQL documentation, "CREATE
//! POLICY", table "Policies Applied by Command Type"). Writes that read a column and writes that do not take turns by world.

use super::generate::{Row, World};
use super::reach::Reach;
use super::shape::{Rights, Shape};
use crate::model::Command;
use crate::sql::quote;

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    pub(super) command: Command,
    pub(super) sql: String,
    /// It returns the rows that it sees, as one JSON array of texts; otherwise what it wrote counts.
    pub(super) reads: bool,
    /// What a reader is told about it.
    pub(super) about: &'static str,
}

/// The statements of `world`, as far as `rights` go.
pub(super) fn probes(world: &World, shape: &Shape, rights: &Rights, reach: &Reach) -> Vec<Probe> {
    let mut writer = Writer {
        table: shape.quoted(),
        world,
        shape,
        rights,
        found: Vec::new(),
    };
    for command in &reach.admitted {
        match command {
            Command::Select => writer.reads(),
            Command::Insert => writer.inserts(),
            Command::Update => writer.updates(),
            Command::Delete => writer.deletes(),
            Command::All => {}
        }
    }
    writer.found
}

struct Writer<'a> {
    table: String,
    world: &'a World,
    shape: &'a Shape,
    rights: &'a Rights,
    found: Vec<Probe>,
}

impl Writer<'_> {
    fn put(&mut self, command: Command, about: &'static str, reads: bool, sql: String) {
        self.found.push(Probe {
            command,
            sql,
            reads,
            about,
        });
    }

    /// Columns that the role may read, in the table's order.
    fn readable(&self) -> Vec<String> {
        let columns = self.shape.columns.iter().map(|c| &c.name);
        let readable = columns.filter(|c| self.rights.select.contains(*c));
        readable.map(|c| quote::ident(c)).collect()
    }

    /// A condition that is true of every row and reads a column.
    fn reading(&self) -> Option<String> {
        let column = self.readable().into_iter().next()?;
        Some(format!("{column} is null or {column} is not null"))
    }

    fn reads(&mut self) {
        let columns = self.readable();
        if columns.is_empty() {
            return;
        }
        let row = format!("row({})::text", columns.join(", "));
        let seen = |lock: &str| {
            format!(
                "select coalesce(json_agg(x order by x collate \"C\"), '[]')::text from (select {row} as x from {}{lock}) dbtune_rows",
                self.table
            )
        };
        let (plain, locking) = (seen(""), seen(" for update"));
        self.put(Command::Select, "SELECT", true, plain);
        if !self.rights.update.is_empty() {
            self.put(Command::Update, "SELECT … FOR UPDATE", true, locking);
        }
    }

    fn insert(&self, rows: &[Row]) -> Option<String> {
        let places: Vec<usize> = (0..self.shape.columns.len())
            .filter(|at| {
                let column = self.shape.columns.get(*at);
                column.is_some_and(|c| self.rights.insert.contains(&c.name))
            })
            .collect();
        if places.is_empty() {
            return None;
        }
        Some(insert(self.shape, &places, rows))
    }

    fn inserts(&mut self) {
        let world = self.world;
        for row in &world.candidates {
            if let Some(sql) = self.insert(std::slice::from_ref(row)) {
                self.put(Command::Insert, "INSERT of one row", false, sql);
            }
        }
        for rows in &world.batches {
            if let Some(sql) = self.insert(rows) {
                self.put(Command::Insert, "INSERT of several rows", false, sql);
            }
        }
        let columns = self.readable();
        if let (Some(row), false) = (world.candidates.first(), columns.is_empty())
            && let Some(sql) = self.insert(std::slice::from_ref(row))
        {
            let sql = format!("{sql} returning {}", columns.join(", "));
            self.put(Command::Insert, "INSERT … RETURNING", false, sql);
        }
    }

    fn updates(&mut self) {
        let world = self.world;
        for (column, value) in &world.assignments {
            let Some(column) = self.shape.columns.get(*column) else {
                continue;
            };
            if !self.rights.update.contains(&column.name) {
                continue;
            }
            let name = quote::ident(&column.name);
            let set = format!("update {} set {name} = {}", self.table, value.to_sql());
            match self.reading().filter(|_| world.number.is_multiple_of(2)) {
                Some(reading) => {
                    let sql = format!("{set} where {reading}");
                    self.put(Command::Update, "UPDATE with WHERE", false, sql);
                }
                None => self.put(Command::Update, "UPDATE without WHERE", false, set),
            }
        }
        let both = |c: &String| self.rights.update.contains(c) && self.rights.select.contains(c);
        let own = self.shape.columns.iter().map(|c| &c.name).find(|c| both(c));
        if let Some(column) = own.map(|c| quote::ident(c)) {
            let sql = format!("update {} set {column} = {column}", self.table);
            self.put(Command::Update, "UPDATE that reads", false, sql);
        }
    }

    fn deletes(&mut self) {
        if !self.rights.delete {
            return;
        }
        let sql = format!("delete from {}", self.table);
        match self
            .reading()
            .filter(|_| self.world.number.is_multiple_of(2))
        {
            Some(reading) => {
                let sql = format!("{sql} where {reading}");
                self.put(Command::Delete, "DELETE with WHERE", false, sql);
            }
            None => self.put(Command::Delete, "DELETE without WHERE", false, sql),
        }
    }
}

/// An INSERT of the columns at `places`.
pub(super) fn insert(shape: &Shape, places: &[usize], rows: &[Row]) -> String {
    let columns: Vec<String> = places
        .iter()
        .filter_map(|at| shape.columns.get(*at))
        .map(|c| quote::ident(&c.name))
        .collect();
    let rows: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells = places.iter().filter_map(|at| row.get(*at));
            let cells: Vec<String> = cells.map(super::generate::Cell::to_sql).collect();
            format!("({})", cells.join(", "))
        })
        .collect();
    format!(
        "insert into {} ({}) overriding system value values {}",
        shape.quoted(),
        columns.join(", "),
        rows.join(", ")
    )
}

/// The statements that put the rows in, each with its row's table and number.
pub(super) fn inserts(world: &World, shapes: &[Shape]) -> Vec<(usize, usize, String)> {
    let mut found = Vec::new();
    for (table, (shape, rows)) in shapes.iter().zip(&world.rows).enumerate() {
        let places: Vec<usize> = (0..shape.columns.len()).collect();
        for (number, row) in rows.iter().enumerate() {
            found.push((
                table,
                number,
                insert(shape, &places, std::slice::from_ref(row)),
            ));
        }
    }
    found
}
