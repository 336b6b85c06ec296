//! Request records to metrics with intervals and a validity verdict
