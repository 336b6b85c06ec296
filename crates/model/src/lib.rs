//! Model loaders and the transformer forward pass with a paged KV cache
