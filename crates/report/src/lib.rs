//! Runs to terminal tables, JSON, CSV and HTML
