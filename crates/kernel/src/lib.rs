//! Operators that run and are measured: CPU kernels
