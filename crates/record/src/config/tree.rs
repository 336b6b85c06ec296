//! Values with the place where each was written.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Origin;

/// A text that values were read from.
#[derive(Debug)]
pub(super) struct Source {
    /// File name without its folder.
    pub(super) name: String,
    pub(super) text: String,
}

/// Where something was written.
#[derive(Debug, Clone)]
pub(super) enum Spot {
    /// Nowhere: built in.
    BuiltIn,
    /// In a file. `column` from 0 and `width` count characters.
    File { source: Arc<Source>, line: u32, column: u32, width: u32 },
    /// In a variable, an override or a flag, named as the user knows it.
    Named(String),
}

/// A value with its origin.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) tree: Tree,
    pub(super) origin: Origin,
    /// Where the key was written.
    pub(super) key: Spot,
    /// Where the value was written.
    pub(super) spot: Spot,
}

/// A value. A list counts as one setting, since layers replace it as a whole.
#[derive(Debug, Clone)]
pub(super) enum Tree {
    Leaf(Value),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

impl Node {
    /// A tree whose every node has the same origin.
    pub(super) fn from_value(value: Value, origin: &Origin, spot: &Spot) -> Self {
        let below = |v| Self::from_value(v, origin, spot);
        let tree = match value {
            Value::Array(items) => Tree::List(items.into_iter().map(below).collect()),
            Value::Object(map) => Tree::Table(map.into_iter().map(|(k, v)| (k, below(v))).collect()),
            leaf => Tree::Leaf(leaf),
        };
        Self { tree, origin: origin.clone(), key: spot.clone(), spot: spot.clone() }
    }

    /// `value` under a path of keys.
    pub(super) fn nested(path: &[&str], value: Value, origin: &Origin, spot: &Spot) -> Self {
        match path.split_first() {
            None => Self::from_value(value, origin, spot),
            Some((first, rest)) => {
                let inner = Self::nested(rest, value, origin, spot);
                let tree = Tree::Table(BTreeMap::from([((*first).to_owned(), inner)]));
                Self { tree, origin: origin.clone(), key: spot.clone(), spot: spot.clone() }
            }
        }
    }

    /// The plain value.
    pub(super) fn to_value(&self) -> Value {
        match &self.tree {
            Tree::Leaf(v) => v.clone(),
            Tree::List(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Tree::Table(map) => {
                Value::Object(map.iter().map(|(k, n)| (k.clone(), n.to_value())).collect::<Map<_, _>>())
            }
        }
    }

    /// Every setting with its dotted key: leaves, lists and empty tables.
    pub(super) fn settings(&self) -> Vec<(String, &Self)> {
        let mut all = Vec::new();
        self.collect("", &mut all);
        all
    }

    fn collect<'a>(&'a self, key: &str, all: &mut Vec<(String, &'a Self)>) {
        match &self.tree {
            Tree::Table(map) if !map.is_empty() => {
                for (name, node) in map {
                    node.collect(&join(key, name), all);
                }
            }
            _ if key.is_empty() => {}
            _ => all.push((key.to_owned(), self)),
        }
    }
}

/// `a.b` and `c` to `a.b.c`.
pub(super) fn join(key: &str, name: &str) -> String {
    if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") }
}
