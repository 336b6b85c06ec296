//! Workloads, arrivals, KV blocks, prefix tree, scheduler rules, step models
