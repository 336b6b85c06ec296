//! The built-in OpenAI-compatible server: real, exact, simulated
