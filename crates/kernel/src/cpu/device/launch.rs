//! The cost of waking the threads at all.

use super::Operation;
use crate::cpu::Cpu;
use crate::cpu::random::Random;

/// Operators that do nothing, on every thread, one after the other.
pub(super) struct Empty {
    pub(super) kernels: u32,
}

impl Operation for Empty {
    fn kernel(&self) -> &'static str {
        "empty"
    }

    fn copies(&self) -> usize {
        1
    }

    fn refill(&mut self, _random: &mut Random) {}

    fn call(&mut self, cpu: &Cpu, _copy: usize) {
        for _ in 0..self.kernels {
            cpu.each(cpu.threads().max(2), |task| {
                std::hint::black_box(task);
            });
        }
    }

    fn deviation(&self, _random: &mut Random) -> f64 {
        0.0
    }

    fn is_launch(&self) -> bool {
        true
    }
}
