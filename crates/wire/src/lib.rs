//! OpenAI request and response types, HTTP and SSE scanners, engine metric names
