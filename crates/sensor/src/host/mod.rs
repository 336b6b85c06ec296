//! The machine itself: what it is, processes, load of others, CPU clock, container.

mod clock;
mod container;
mod cpu;
mod facts;
mod load;
mod memory;
mod process;
mod time;

pub use clock::{CpuClock, cpu_clock};
pub use container::{Container, ContainerMarks, container, container_marks};
pub use cpu::{features, model};
pub use facts::{cpus, fingerprint, fixed_clock, os, state};
pub use load::{CpuTimes, online_cpus, others_share};
pub use memory::{available_memory_bytes, total_bytes};
pub use process::{
    OwnAndChildren, TreeUsage, descendants, lower_priority_of_this_thread, own_and_children, own_page_faults,
    own_peak_rss_bytes, own_usage, threads, tree, tree_usage,
};
pub use time::{boot, clock_synchronised};
