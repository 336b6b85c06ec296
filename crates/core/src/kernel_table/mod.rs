//! Words of kernel tables: what was run ([`Op`]), and what it took ([`KernelRow`]).
//!
//! ```text
//! model + engine settings ──► [Op] ──► a device runs it ──► [KernelRow] ──► predictions, rooflines
//!       (predict)            (here)      (kernel)             (here)
//! ```
//!
//! A profile measures operators, a predictor adds them up: both name them by [`Op`], so that a prediction can say
//! which measured row it rests on. How much work an operator is stands in [`Work`], once.
//!
//! Only types and formulas; `record` reads and writes the table file.

mod movement;
mod op;
mod row;
mod work;

pub use movement::{KernelMovement, Moved, MovedPoints, MovedRow};
pub use op::{Dtype, Dtypes, Family, Op, OpKind, Shape};
pub use row::{CacheState, Clocks, KernelRow, KernelTable, Launch, Outcome, Provider, Sampled};
pub use work::Work;
