//! Comparisons of a placeholder with something of one table's row.

use super::{
    AExpr, AExprKind, IntoNode, Name, Node, NodeEnum, Place, SubLink, Unreadable, Walk,
    column_path, names, parameter, parts, parts_mut, print_expression, string,
};

impl Walk<'_> {
    /// Whether `e` compares placeholders with one table's row, which is then written down.
    pub(super) fn comparison(&mut self, e: &AExpr) -> bool {
        let (Some(left), Some(right)) = (e.lexpr.as_deref(), e.rexpr.as_deref()) else {
            return false;
        };
        let written = names(&e.name).last().copied().unwrap_or_default();
        let operators: Vec<&str> = match e.kind() {
            AExprKind::AexprOp if is_comparison(written) => vec![written],
            AExprKind::AexprLike | AExprKind::AexprIlike | AExprKind::AexprIn => vec![written],
            AExprKind::AexprOpAny if written == "=" => vec![written],
            AExprKind::AexprDistinct | AExprKind::AexprNotDistinct => vec!["="],
            AExprKind::AexprBetween | AExprKind::AexprBetweenSym => vec![">=", "<="],
            _ => return false,
        };
        let any = e.kind() == AExprKind::AexprOpAny;
        if any
            && let (Some(number), Some((table, _, Some(column)))) =
                (parameter(left), self.side(right))
        {
            self.put(number, Place::Element { table, column });
            return true;
        }
        if let Some(numbers) = values(right)
            && let Some(side) = self.side(left)
        {
            let last = operators.last().copied().unwrap_or(written);
            for (at, number) in numbers.into_iter().enumerate() {
                let operator = operators.get(at).copied().unwrap_or(last);
                let Some(number) = number else { continue };
                // Items of `any (array[…])` are values; `any ($1)` is a list of them.
                let whole = any && parameter(right).is_some();
                self.put(number, compared(side.clone(), operator, whole));
            }
            return true;
        }
        if !any
            && let (Some(number), Some(side)) = (parameter(left), self.side(right))
            && let Some(operator) = commuted(written)
        {
            self.put(number, compared(side, operator, false));
            return true;
        }
        false
    }

    pub(super) fn sub_link(&mut self, link: &SubLink) -> Result<(), Unreadable> {
        let query = link.subselect.as_ref().and_then(|q| q.node.as_ref());
        let Some(NodeEnum::SelectStmt(select)) = query else {
            return Ok(());
        };
        self.scopes.push(Vec::new());
        self.select(select)?;
        if let Some(test) = link.testexpr.as_deref() {
            let target = match select.target_list.as_slice() {
                [
                    Node {
                        node: Some(NodeEnum::ResTarget(target)),
                    },
                ] => target.val.as_deref(),
                _ => None,
            };
            match (parameter(test), target.and_then(|t| self.side(t))) {
                (Some(number), Some(side)) => self.put(number, compared(side, "=", false)),
                _ => self.maybe(Some(test))?,
            }
        }
        self.scopes.pop();
        Ok(())
    }

    /// The table, the expression over its bare columns, and the column where it is nothing but that; `None` for what
    /// is no expression over exactly one table's row.
    fn side(&self, node: &Node) -> Option<(Name, String, Option<String>)> {
        let mut table = None;
        self.owner(node, &mut table)?;
        let table = table?;
        let mut bare = node.clone();
        unqualify(&mut bare)?;
        let column = match &bare.node {
            Some(NodeEnum::ColumnRef(column)) => {
                column_path(column).last().map(|c| (*c).to_owned())
            }
            _ => None,
        };
        Some((table, print_expression(&bare).ok()?, column))
    }

    /// Finds the one table of all columns; `None` where there is another one, a placeholder or a sub-select.
    fn owner(&self, node: &Node, table: &mut Option<Name>) -> Option<()> {
        match node.node.as_ref()? {
            NodeEnum::ColumnRef(column) => {
                let owner = self.resolve(&column_path(column))?;
                if table.as_ref().is_some_and(|known| *known != owner) {
                    return None;
                }
                *table = Some(owner);
                Some(())
            }
            NodeEnum::ParamRef(_) | NodeEnum::SubLink(_) => None,
            _ => parts(node)?.iter().try_for_each(|p| self.owner(p, table)),
        }
    }

    fn resolve(&self, path: &[&str]) -> Option<Name> {
        let (column, qualifier) = match path {
            [.., qualifier, column] => (*column, Some(*qualifier)),
            [column] => (*column, None),
            [] => return None,
        };
        self.scopes.iter().rev().find_map(|scope| {
            scope.iter().find_map(|(alias, table)| {
                let table = table.as_ref()?;
                let has = self.catalog.table(table)?.column(column).is_some();
                (has && qualifier.is_none_or(|q| q == alias)).then(|| table.clone())
            })
        })
    }
}

fn compared(
    (table, expression, column): (Name, String, Option<String>),
    operator: &str,
    list: bool,
) -> Place {
    Place::Compared {
        table,
        expression,
        column,
        operator: operator.to_owned(),
        list,
    }
}

/// The placeholders of a value or of a list of values, `None` among them for items that are something else; `None` for
/// what holds no placeholder by itself.
fn values(node: &Node) -> Option<Vec<Option<u32>>> {
    let items = match node.node.as_ref()? {
        NodeEnum::List(list) => &list.items,
        NodeEnum::AArrayExpr(array) => &array.elements,
        NodeEnum::TypeCast(cast) if parameter(node).is_none() => {
            return values(cast.arg.as_deref()?);
        }
        _ => return parameter(node).map(|n| vec![Some(n)]),
    };
    let found: Vec<Option<u32>> = items.iter().map(parameter).collect();
    found.iter().any(Option::is_some).then_some(found)
}

fn is_comparison(operator: &str) -> bool {
    commuted(operator).is_some() || matches!(operator, "~" | "~*" | "^@" | "%" | "?")
}

/// The operator with its sides exchanged.
fn commuted(operator: &str) -> Option<&'static str> {
    Some(match operator {
        "=" => "=",
        "<>" => "<>",
        "<" => ">",
        ">" => "<",
        "<=" => ">=",
        ">=" => "<=",
        "@>" => "<@",
        "<@" => "@>",
        "&&" => "&&",
        _ => return None,
    })
}

fn unqualify(node: &mut Node) -> Option<()> {
    if let Some(NodeEnum::ColumnRef(reference)) = &mut node.node {
        let last = string(column_path(reference).last()?);
        reference.fields = vec![last];
        return Some(());
    }
    while let Some(NodeEnum::CollateClause(collate)) = &mut node.node {
        *node = *collate.arg.take()?;
    }
    if let Some(NodeEnum::List(_)) = &node.node {
        let inner = std::mem::take(node);
        *node = inner.node?.into_node();
    }
    parts_mut(node)?.into_iter().try_for_each(unqualify)
}

#[cfg(test)]
mod tests {
    use crate::model::{Catalog, Column, Name, Table};
    use crate::sql::placeholders::{Place, placeholders};

    fn catalog() -> Catalog {
        let mut catalog = Catalog::default();
        for (name, columns) in [
            ("items", ["id", "tenant", "title", "made"].as_slice()),
            ("notes", &["id", "item", "body", "tags"]),
        ] {
            let columns = columns.iter().map(|c| Column {
                name: (*c).to_owned(),
                ..Column::default()
            });
            catalog.tables.insert(
                Name::new("public", name),
                Table {
                    columns: columns.collect(),
                    ..Table::default()
                },
            );
        }
        catalog
    }

    /// In words, in the order of the placeholders.
    fn places(sql: &str) -> Vec<String> {
        let found = placeholders(sql, &catalog()).unwrap();
        let word = |place: &Place| match place {
            Place::Compared {
                table,
                expression,
                operator,
                list,
                ..
            } => format!(
                "{} {expression} {operator}{}",
                table.name,
                if *list { " list" } else { "" }
            ),
            Place::Element { table, column } => format!("{} {column} element", table.name),
            Place::Assigned { table, column, .. } => format!("{} {column} :=", table.name),
            Place::Limit { outermost: true } => "limit".to_owned(),
            Place::Limit { outermost: false } => "limit inside".to_owned(),
            Place::Offset => "offset".to_owned(),
            Place::Returned => "returned".to_owned(),
            Place::Inside(what) => format!("in {what}"),
        };
        found
            .values()
            .map(|all| all.iter().map(word).collect::<Vec<_>>().join(", "))
            .collect()
    }

    #[test]
    fn comparisons_find_their_column() {
        for (sql, expected) in [
            (
                "select * from items i where i.id = $1 and $2 < made",
                &["items id =", "items made >"][..],
            ),
            (
                "select * from items where made between $1 and $2::timestamptz",
                &["items made >=", "items made <="],
            ),
            (
                "select * from items where id in ($1, $2, 3)",
                &["items id =", "items id ="],
            ),
            (
                "select * from items where id = any ($1::int[]) limit $2 offset $3",
                &["items id = list", "limit", "offset"],
            ),
            (
                "select * from items where lower(title) like $1",
                &["items lower(title) ~~"],
            ),
            (
                "select * from notes where $1 = any (tags)",
                &["notes tags element"],
            ),
            (
                "select $1::text, coalesce(title, $2) from items",
                &["returned", "returned"],
            ),
            (
                "with s as (select \"public\".\"items\".* from \"public\".\"items\" where \"public\".\"items\".\"id\" = $1 limit $2) select count(*) from s",
                &["items id =", "limit inside"],
            ),
            (
                "select * from items where exists (select 1 from notes n where n.item = items.id and n.body = $1 and tenant = $2)",
                &["notes body =", "items tenant ="],
            ),
            (
                "select * from items where made > now() - $1::interval",
                &["in the operator -"],
            ),
            (
                "select f($1) from items where $2",
                &["in f()", "in a condition"],
            ),
            (
                "select tenant from items group by 1 having count(*) > $1",
                &["in HAVING"],
            ),
        ] {
            assert_eq!(places(sql), expected, "{sql}");
        }
    }

    #[test]
    fn writes_assign() {
        for (sql, expected) in [
            (
                "insert into items (id, title) values ($1, $2), ($3, $4) on conflict (id) do update set title = $5",
                &[
                    "items id :=",
                    "items title :=",
                    "items id :=",
                    "items title :=",
                    "items title :=",
                ][..],
            ),
            (
                "update items set title = $1 where id = $2 returning id",
                &["items title :=", "items id ="],
            ),
            ("delete from items where id = $1", &["items id ="]),
            (
                "insert into notes select id, $1 from items where tenant = $2",
                &["notes item :=, returned", "items tenant ="],
            ),
        ] {
            assert_eq!(places(sql), expected, "{sql}");
        }
        assert!(
            placeholders(
                "merge into items using notes on true when matched then delete",
                &catalog()
            )
            .is_err()
        );
    }
}
