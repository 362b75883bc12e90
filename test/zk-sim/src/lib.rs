//! Deterministic world for the cores
