//! Lays one tree over another.

use serde_json::Value;

use super::schema::{ANY, Child, Schema};
use super::tree::{Node, Tree};

/// Lays `over` over `base`: tables merge, anything else replaces.
pub(super) fn merge(schema: &Schema, at: &Value, base: Node, over: Node) -> Node {
    let at = schema.resolve(at);
    let (Tree::Table(mut old), Tree::Table(new)) = (base.tree, &over.tree) else { return over };
    let variant = variant_of(schema, at, new.iter().map(|(k, n)| (k.as_str(), n)));
    let before = variant_of(schema, at, old.iter().map(|(k, n)| (k.as_str(), n)));
    if matches!((variant, before), (Some(a), Some(b)) if !std::ptr::eq(a, b)) {
        return over;
    }
    let inner = variant.or(before).or_else(|| only_table(schema, at)).unwrap_or(at);
    let Tree::Table(new) = over.tree else { unreachable!("matched above") };
    for (key, node) in new {
        let merged = match old.remove(&key) {
            None => node,
            Some(previous) => match schema.child(inner, &key) {
                Child::Known(below) => merge(schema, below, previous, node),
                Child::Free | Child::Unknown => merge(schema, &ANY, previous, node),
            },
        };
        old.insert(key, merged);
    }
    Node { tree: Tree::Table(old), origin: over.origin, key: over.key, spot: over.spot }
}

/// The variant of an enum that a table names: by a tag with a constant, or by its single key.
pub(super) fn variant_of<'s, 'n>(
    schema: &'s Schema,
    at: &'s Value,
    table: impl Iterator<Item = (&'n str, &'n Node)> + Clone,
) -> Option<&'s Value> {
    let variants = schema.variants(at);
    let tagged = |variant: &Value| {
        table.clone().any(|(key, node)| {
            let constant = variant
                .get("properties")
                .and_then(|p| p.get(key))
                .and_then(|p| schema.resolve(p).get("const"));
            constant.is_some_and(|c| matches!(&node.tree, Tree::Leaf(v) if v == c))
        })
    };
    let by_key = |variant: &Value| {
        let properties = variant.get("properties").and_then(Value::as_object);
        properties.is_some_and(|p| p.len() == 1 && table.clone().any(|(key, _)| p.contains_key(key)))
    };
    let tables: Vec<_> = variants.into_iter().filter(|v| v.get("properties").is_some()).collect();
    if tables.len() < 2 {
        return None;
    }
    tables.iter().find(|v| tagged(v)).or_else(|| tables.iter().find(|v| by_key(v))).copied()
}

/// The one alternative that is a table, as in an optional table.
pub(super) fn only_table<'s>(schema: &'s Schema, at: &'s Value) -> Option<&'s Value> {
    let mut tables = schema.variants(at).into_iter().filter(|v| schema.admits(v, "object"));
    let first = tables.next()?;
    tables.next().is_none().then_some(first)
}
