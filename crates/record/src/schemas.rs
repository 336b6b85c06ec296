//! The files under `schemas/`.
