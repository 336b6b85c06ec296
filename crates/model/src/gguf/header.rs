//! The header of a GGUF file: metadata and the table of tensors.
//!
//! Layout after the GGUF specification, versions 2 and 3, little-endian. Files come from anywhere: every length is
//! checked against what is left of the file before anything is read or reserved, so a hostile header costs no more
//! memory than a few times its own size.

use std::collections::HashMap;
use std::io::Read;

use super::GgufError;
use super::quant::TensorType;

/// A metadata value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    Numbers(Vec<f64>),
    /// Arrays of arrays or of booleans, which no model of ours needs.
    Skipped,
}

/// Where a tensor is and what it holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TensorInfo {
    /// Numbers along each dimension, the innermost (a row) first.
    pub(crate) dims: Vec<u64>,
    pub(crate) kind: TensorType,
    /// Byte offset in the file.
    pub(crate) begin: u64,
    /// Length in bytes.
    pub(crate) bytes: u64,
}

/// A header that agrees with the length of its file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Header {
    pub(crate) metadata: HashMap<String, Value>,
    pub(crate) tensors: HashMap<String, TensorInfo>,
}

const MAX_DIMS: u32 = 4;
const MAX_NESTING: u32 = 4;
/// The smallest entry of each table, in bytes: an empty name and a one-byte value; a name and an offset.
const MIN_METADATA: u64 = 8 + 4 + 1;
const MIN_TENSOR: u64 = 8 + 4 + 4 + 8;

impl Header {
    /// Reads a header from the begin of a file of `file_bytes` bytes.
    pub(crate) fn read(input: impl Read, file_bytes: u64) -> Result<Self, GgufError> {
        let mut input = Input { input, read: 0, total: file_bytes };
        if input.bytes::<4>()? != *b"GGUF" {
            return Err(GgufError::Magic);
        }
        let version = input.u32()?;
        if !(2..=3).contains(&version) {
            return Err(GgufError::Version { version });
        }
        let tensor_count = input.u64()?;
        let metadata_count = input.u64()?;
        input.fits(metadata_count, MIN_METADATA, "metadata table")?;
        input.fits(tensor_count, MIN_TENSOR, "tensor table")?;

        let mut metadata = HashMap::new();
        for _ in 0..metadata_count {
            let key = input.text()?;
            let kind = input.u32()?;
            let value = input.value(kind, 0)?;
            metadata.insert(key, value);
        }
        let mut tensors = Vec::new();
        for _ in 0..tensor_count {
            let name = input.text()?;
            let count = input.u32()?;
            if count > MAX_DIMS {
                return Err(GgufError::Damaged { what: "number of dimensions", name });
            }
            let dims = (0..count).map(|_| input.u64()).collect::<Result<Vec<_>, _>>()?;
            let kind = input.u32()?;
            let offset = input.u64()?;
            let kind = TensorType::from_code(kind)
                .ok_or(GgufError::TensorType { name: name.clone(), code: kind })?;
            let bytes =
                kind.bytes_of(&dims).ok_or(GgufError::Damaged { what: "shape", name: name.clone() })?;
            tensors.push((name, TensorInfo { dims, kind, begin: offset, bytes }));
        }
        let alignment = match metadata.get("general.alignment") {
            Some(Value::Unsigned(a)) if a.is_power_of_two() && *a <= 1 << 20 => *a,
            None => 32,
            Some(_) => {
                return Err(GgufError::Metadata { key: "general.alignment".into(), must: "a power of two" });
            }
        };
        let data = input.read.next_multiple_of(alignment);
        let mut table = HashMap::new();
        for (name, mut info) in tensors {
            let begin = info.begin.checked_add(data);
            let end = begin.and_then(|b| b.checked_add(info.bytes));
            match (begin, end) {
                (Some(begin), Some(end)) if end <= file_bytes => info.begin = begin,
                _ => return Err(GgufError::Truncated { what: name }),
            }
            if table.insert(name.clone(), info).is_some() {
                return Err(GgufError::Damaged { what: "second tensor of one name", name });
            }
        }
        Ok(Self { metadata, tensors: table })
    }

    /// A text, when the key is there.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>, GgufError> {
        self.get(key, "a text", |v| if let Value::Text(t) = v { Some(t.as_str()) } else { None })
    }

    /// A count, when the key is there.
    pub(crate) fn count(&self, key: &str) -> Result<Option<usize>, GgufError> {
        self.get(key, "a count", |v| match v {
            Value::Unsigned(u) => usize::try_from(*u).ok(),
            Value::Signed(i) => usize::try_from(*i).ok(),
            _ => None,
        })
    }

    /// A number, when the key is there.
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, GgufError> {
        self.get(key, "a number", |v| if let Value::Float(f) = v { Some(*f) } else { None })
    }

    /// A list of texts.
    pub(crate) fn texts(&self, key: &str) -> Result<Option<&[String]>, GgufError> {
        self.get(key, "a list of texts", |v| if let Value::Texts(t) = v { Some(t.as_slice()) } else { None })
    }

    /// A list of numbers.
    pub(crate) fn numbers(&self, key: &str) -> Result<Option<&[f64]>, GgufError> {
        self.get(
            key,
            "a list of numbers",
            |v| if let Value::Numbers(n) = v { Some(n.as_slice()) } else { None },
        )
    }

    fn get<'a, T>(
        &'a self,
        key: &str,
        must: &'static str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or(GgufError::Metadata { key: key.into(), must }),
        }
    }
}

/// A reader that knows how much of the file is left.
struct Input<R> {
    input: R,
    read: u64,
    total: u64,
}

impl<R: Read> Input<R> {
    /// Checks that `count` things of at least `size` bytes can still follow.
    fn fits(&self, count: u64, size: u64, what: &'static str) -> Result<(), GgufError> {
        let left = self.total.saturating_sub(self.read);
        if count.checked_mul(size).is_none_or(|bytes| bytes > left) {
            return Err(GgufError::Truncated { what: what.into() });
        }
        Ok(())
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        self.fits(1, N as u64, "header")?;
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes).map_err(GgufError::Read)?;
        self.read += N as u64;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, GgufError> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, GgufError> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<String, GgufError> {
        let len = self.u64()?;
        self.fits(len, 1, "text")?;
        let mut bytes =
            vec![0; usize::try_from(len).map_err(|_| GgufError::Truncated { what: "text".into() })?];
        self.input.read_exact(&mut bytes).map_err(GgufError::Read)?;
        self.read += len;
        Ok(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
    }

    /// A single number as `f64`, for the types that are numbers.
    fn scalar(&mut self, kind: u32) -> Result<Value, GgufError> {
        Ok(match kind {
            0 => Value::Unsigned(self.bytes::<1>()?[0].into()),
            1 => Value::Signed(i8::from_le_bytes(self.bytes()?).into()),
            2 => Value::Unsigned(u16::from_le_bytes(self.bytes()?).into()),
            3 => Value::Signed(i16::from_le_bytes(self.bytes()?).into()),
            4 => Value::Unsigned(self.u32()?.into()),
            5 => Value::Signed(i32::from_le_bytes(self.bytes()?).into()),
            6 => Value::Float(f32::from_le_bytes(self.bytes()?).into()),
            7 => Value::Bool(self.bytes::<1>()?[0] != 0),
            8 => Value::Text(self.text()?),
            10 => Value::Unsigned(self.u64()?),
            11 => Value::Signed(i64::from_le_bytes(self.bytes()?)),
            12 => Value::Float(f64::from_le_bytes(self.bytes()?)),
            code => return Err(GgufError::ValueType { code }),
        })
    }

    fn value(&mut self, kind: u32, depth: u32) -> Result<Value, GgufError> {
        if kind != 9 {
            return self.scalar(kind);
        }
        if depth == MAX_NESTING {
            return Err(GgufError::Damaged { what: "depth of arrays", name: "metadata".into() });
        }
        let kind = self.u32()?;
        let count = self.u64()?;
        let smallest = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            9 => 12,
            _ => 8,
        };
        self.fits(count, smallest, "array")?;
        let (mut texts, mut numbers) = (Vec::new(), Vec::new());
        for _ in 0..count {
            match self.value(kind, depth + 1)? {
                Value::Text(t) => texts.push(t),
                Value::Unsigned(u) => numbers.push(u as f64),
                Value::Signed(i) => numbers.push(i as f64),
                Value::Float(f) => numbers.push(f),
                _ => {}
            }
        }
        Ok(match kind {
            8 => Value::Texts(texts),
            7 | 9 => Value::Skipped,
            _ => Value::Numbers(numbers),
        })
    }
}
