//! Procedures that measure: the bench scenarios
