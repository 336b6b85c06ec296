//! Run directory, configuration layers and the catalogue of runs
