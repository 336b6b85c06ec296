//! Storage of the paged key/value cache.
//!
//! Blocks are numbered from 0 and have no owner here: the scheduler hands them out. Memory is taken from the system
//! when a block is first written, or by [`PagedKv::populate`].

use stopwatt_kernel::cpu::{Buffer, KvLayer, KvLayerMut, KvShape};

use crate::config::ModelConfig;

/// Keys and values of every layer, in blocks of tokens.
#[derive(Debug)]
pub struct PagedKv {
    shape: KvShape,
    blocks: usize,
    layers: usize,
    /// Keys of the first layer, its values, keys of the second layer, …: one mapping, so that it lies in huge pages.
    numbers: Buffer,
}

/// Why a cache could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KvError {
    /// No blocks, or blocks of no tokens.
    #[error("a cache needs at least one block of at least one token")]
    Empty,
    /// The cache does not fit into the address space.
    #[error("a cache of {blocks} blocks of {block_size} tokens is too large")]
    TooLarge {
        /// Blocks asked for.
        blocks: usize,
        /// Tokens a block asked for.
        block_size: usize,
    },
    /// The system has no memory for the cache.
    #[error("no memory for a cache of {blocks} blocks of {block_size} tokens")]
    Memory {
        /// Blocks asked for.
        blocks: usize,
        /// Tokens a block asked for.
        block_size: usize,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl PagedKv {
    /// An empty cache of `blocks` blocks of `block_size` tokens for a model. Block sizes that are a multiple of 16
    /// are fastest.
    pub fn new(config: &ModelConfig, blocks: usize, block_size: usize) -> Result<Self, KvError> {
        if blocks == 0 || block_size == 0 {
            return Err(KvError::Empty);
        }
        let too_large = KvError::TooLarge { blocks, block_size };
        let total = config.kv_bytes_per_token().checked_mul(block_size).and_then(|b| b.checked_mul(blocks));
        if total.is_none_or(|bytes| bytes > isize::MAX as usize) || u32::try_from(blocks).is_err() {
            return Err(too_large);
        }
        let shape = config.kv_shape(block_size);
        let numbers = Buffer::zeroed(2 * config.layers * shape.block_len() * blocks)
            .map_err(|source| KvError::Memory { blocks, block_size, source })?;
        Ok(Self { shape, blocks, layers: config.layers, numbers })
    }

    /// Takes all memory from the system now, so that a process does not grow while it works.
    pub fn populate(&mut self) {
        self.numbers.fill(0.0);
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Tokens in a block.
    pub fn block_size(&self) -> usize {
        self.shape.block_size
    }

    /// Shape of one layer.
    pub fn shape(&self) -> KvShape {
        self.shape
    }

    /// Number of layers.
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// Bytes of the whole cache.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.numbers)
    }

    /// One layer, for reading.
    pub(crate) fn layer(&self, index: usize) -> KvLayer<'_> {
        let len = self.layer_len();
        let (keys, values) = self.numbers[2 * index * len..][..2 * len].split_at(len);
        KvLayer { shape: self.shape, keys, values }
    }

    /// One layer, for writing.
    pub(crate) fn layer_mut(&mut self, index: usize) -> KvLayerMut<'_> {
        let (shape, len) = (self.shape, self.layer_len());
        let (keys, values) = self.numbers[2 * index * len..][..2 * len].split_at_mut(len);
        KvLayerMut { shape, keys, values }
    }

    /// Numbers in the keys, and as many in the values, of one layer.
    fn layer_len(&self) -> usize {
        self.shape.block_len() * self.blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Preset;

    #[test]
    fn sizes_are_checked_and_stated() {
        let config = Preset::Tiny.config();
        assert!(matches!(PagedKv::new(&config, 0, 16), Err(KvError::Empty)));
        assert!(matches!(PagedKv::new(&config, usize::MAX / 2, 16), Err(KvError::TooLarge { .. })));
        let kv = PagedKv::new(&config, 3, 16).unwrap();
        assert_eq!(kv.bytes(), 3 * 16 * config.kv_bytes_per_token());
        assert_eq!((kv.blocks(), kv.block_size(), kv.layers()), (3, 16, config.layers));
    }
}
