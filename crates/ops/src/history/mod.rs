//! What a span of time comes to: rates, percentiles, errors, cost, availability, incidents, and how variants differ.
//!
//! The live page and `stopwatt watch query` tell it by the same definitions:
//!
//! - **availability** is the share of requests that ended as they should among those whose client did not leave;
//! - an **incident** of an upstream is the time in which it is given no requests, one of the service that in which all
//!   are; MTTR is the mean length of those that began in the span and ended;
//! - TTFT, TPOT and E2E are exact quantiles of requests, as everywhere in Stopwatt; ITL is interpolated between the
//!   buckets of the exporter, since gaps are counted and not kept.

mod group;
mod incident;
mod query;
mod summary;
mod values;
mod variants;

pub use group::Group;
pub(crate) use group::Groups;
pub use incident::{Incident, IncidentKind, Incidents};
pub use query::{By, History, Part, Totals, history};
pub(crate) use summary::Tally;
pub use summary::{Quantiles, Summary};
pub use values::Values;
pub(crate) use values::{Bins, Gaps};
pub(crate) use variants::Sides;
pub use variants::{Difference, VariantDifference};
