//! The one table of counter names, by architecture.

use std::sync::OnceLock;

use serde::Deserialize;

/// How values of several launches become one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// Added.
    Sum,
    /// 100 × Σ of / (Σ of + Σ rest).
    Ratio {
        /// The quantity that counts.
        of: String,
        /// What with it makes the whole.
        rest: String,
    },
    /// The counter's own value, weighted by another quantity.
    Weighted {
        /// The weight.
        weight: String,
    },
}

/// A quantity and its counter.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Quantity {
    /// Our name, for instance `l2_hit_pct`.
    pub name: String,
    /// NVIDIA's name, for instance `lts__t_sector_hit_rate.pct`.
    pub counter: String,
    /// Unit of the value.
    pub unit: String,
    /// How launches are put together.
    #[serde(flatten)]
    pub kind: Kind,
}

#[derive(Deserialize)]
struct Table {
    quantity: Vec<Quantity>,
    #[serde(default)]
    differs: Vec<Differs>,
}

#[derive(Deserialize)]
struct Differs {
    compute_capability: String,
    #[serde(default)]
    absent: Vec<String>,
    #[serde(default)]
    counter: std::collections::BTreeMap<String, String>,
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| toml::from_str(include_str!("counters.toml")).expect("a test reads this file"))
}

/// The quantities of an architecture, for instance of compute capability `9.0`; those common to all when it is not known.
pub fn quantities(compute_capability: Option<&str>) -> Vec<Quantity> {
    let table = table();
    let mut all = table.quantity.clone();
    if let Some(differs) =
        table.differs.iter().find(|d| Some(d.compute_capability.as_str()) == compute_capability)
    {
        all.retain(|q| !differs.absent.contains(&q.name));
        for quantity in &mut all {
            if let Some(counter) = differs.counter.get(&quantity.name) {
                quantity.counter.clone_from(counter);
            }
        }
    }
    all
}

/// The same reduced to what is named, with what these need to be put together; a name that does not exist is the error.
pub(crate) fn selected(all: Vec<Quantity>, names: &[String]) -> Result<Vec<Quantity>, String> {
    if names.is_empty() {
        return Ok(all);
    }
    let mut wanted = Vec::new();
    for name in names {
        let quantity =
            all.iter().find(|q| q.name == *name || q.counter == *name).ok_or_else(|| name.clone())?;
        wanted.push(quantity.name.clone());
        match &quantity.kind {
            Kind::Sum => {}
            Kind::Ratio { of, rest } => wanted.extend([of.clone(), rest.clone()]),
            Kind::Weighted { weight } => wanted.push(weight.clone()),
        }
    }
    Ok(all.into_iter().filter(|q| wanted.contains(&q.name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound() {
        let all = quantities(Some("9.0"));
        let has = |name: &str| all.iter().any(|q| q.name == name);
        for quantity in &all {
            match &quantity.kind {
                Kind::Sum => {}
                Kind::Ratio { of, rest } => assert!(has(of) && has(rest)),
                Kind::Weighted { weight } => assert!(has(weight), "{quantity:?}"),
            }
            assert!(quantity.counter.contains("__") && quantity.counter.contains('.'), "{quantity:?}");
        }
        let l2 = all.iter().find(|q| q.name == "l2_hit_pct").unwrap();
        assert_eq!(l2.counter, "lts__t_sector_hit_rate.pct");
    }

    #[test]
    fn architectures_differ() {
        let orin = quantities(Some("8.7"));
        assert!(orin.iter().all(|q| !q.name.starts_with("dram")));
        let rtx = quantities(Some("12.0"));
        let read = rtx.iter().find(|q| q.name == "dram_read_bytes").unwrap();
        assert_eq!(read.counter, "dram__bytes_op_read.sum");
        assert_eq!(quantities(None), quantities(Some("9.0")));
    }

    #[test]
    fn a_ratio_brings_its_parts_and_a_typo_is_told() {
        let picked = selected(quantities(None), &["l2_hit_pct".into()]).unwrap();
        let names: Vec<_> = picked.iter().map(|q| q.name.as_str()).collect();
        assert_eq!(names, ["l2_hits", "l2_misses", "l2_hit_pct"]);
        assert_eq!(selected(quantities(None), &["l2_hti".into()]), Err("l2_hti".to_owned()));
    }
}
