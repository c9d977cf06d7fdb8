//! Parts that several kinds of node share.

use super::Known;
use pg_query::protobuf::{Alias, TypeName};
use pg_query::{Node, NodeEnum};

/// A field that the parser of texts leaves empty.
pub(super) fn nothing(node: Option<&Node>) -> Known {
    match node {
        None => Ok(()),
        Some(_) => Err("it holds a field that is not known"),
    }
}

pub(super) fn empty(nodes: &[Node]) -> Known {
    if nodes.is_empty() {
        Ok(())
    } else {
        Err("it holds a list that is not known")
    }
}

/// A dotted name.
pub(super) fn strings(nodes: &[Node]) -> Known {
    let all = nodes
        .iter()
        .all(|n| matches!(n.node, Some(NodeEnum::String(_))));
    if all {
        Ok(())
    } else {
        Err("it holds a name that is not known")
    }
}

pub(super) fn type_name(name: Option<&TypeName>) -> Known {
    let TypeName {
        names,
        type_oid: _,
        setof,
        pct_type,
        typmods: _,
        typemod: _,
        array_bounds: _,
        location: _,
    } = name.ok_or("a type is missing")?;
    strings(names)?;
    if *setof || *pct_type {
        return Err("it holds a type that is not known");
    }
    Ok(())
}

/// An alias that renames no column.
pub(super) fn alias(alias: Option<&Alias>) -> Known {
    let Some(Alias {
        aliasname: _,
        colnames,
    }) = alias
    else {
        return Ok(());
    };
    if colnames.is_empty() {
        Ok(())
    } else {
        Err("an alias renames columns")
    }
}
