//! Owns the numbers of one tensor of an update: which are sent, and what each is.
//!
//! Refuses to know the other tensors. Bound: the indices, bits and scales of the tensor in memory,
//! whose sizes the layout has checked; values are read as they are asked for.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use half::{bf16, f16};
use truststram_model::tensor::DType;

use super::layout::{Part, ValuePlace, WhichPlace};
use crate::error::{FederateError, field_error, tensor_error};

/// Bytes read at once where they cannot be read into their place.
const BUFFER_BYTES: usize = 8_192;
/// Bits of one word of a bitmap, and words between two counts of it.
const WORD_BITS: usize = 64;
const RANK_WORDS: usize = 8;

/// The bytes of an update, in memory or in a file.
#[derive(Debug)]
pub(super) enum Body {
    Memory(Vec<u8>),
    File(File, u64),
}

impl Body {
    pub fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(_, bytes) => *bytes,
        }
    }

    /// Fills `out` with the bytes from `at`.
    pub fn read(&self, at: u64, out: &mut [u8]) -> Result<(), FederateError> {
        match self {
            Self::Memory(bytes) => {
                let from = usize::try_from(at).unwrap_or(usize::MAX);
                let found = bytes.get(from..from.saturating_add(out.len()));
                let found =
                    found.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::UnexpectedEof))?;
                out.copy_from_slice(found);
                Ok(())
            }
            Self::File(file, _) => Ok(file.read_exact_at(out, at)?),
        }
    }

    /// The numbers that lie from `at`, where they can be used as they lie.
    pub fn floats(&self, at: u64, count: usize) -> Option<&[f32]> {
        let Self::Memory(bytes) = self else { return None };
        let from = usize::try_from(at).ok()?;
        let bytes = bytes.get(from..from.checked_add(count.checked_mul(size_of::<f32>())?)?)?;
        if cfg!(target_endian = "little") { bytemuck::try_cast_slice(bytes).ok() } else { None }
    }

    fn read_f32(&self, at: u64, out: &mut [f32]) -> Result<(), FederateError> {
        self.read(at, bytemuck::cast_slice_mut(out))?;
        if cfg!(target_endian = "big") {
            out.iter_mut().for_each(|value| *value = f32::from_bits(value.to_bits().swap_bytes()));
        }
        Ok(())
    }

    fn read_u32(&self, range: &Range<u64>) -> Result<Vec<u32>, FederateError> {
        let mut words = vec![0_u32; (range.end - range.start) as usize / size_of::<u32>()];
        self.read(range.start, bytemuck::cast_slice_mut(&mut words))?;
        words.iter_mut().for_each(|word| *word = u32::from_le(*word));
        Ok(words)
    }
}

/// Which values of a tensor are sent.
#[derive(Debug)]
enum Which {
    All,
    Indices(Vec<u32>),
    /// The bits, and how many are set before each [`RANK_WORDS`] words.
    Bitmap(Vec<u64>, Vec<u32>),
}

#[derive(Debug)]
enum Values {
    Float(DType, u64),
    Int8 { at: u64, scales: Vec<f32>, block: usize },
    Whole(Range<u64>),
}

/// One tensor of a received update.
#[derive(Debug)]
pub(super) struct Numbers {
    which: Which,
    values: Values,
}

impl Numbers {
    /// Reads indices, bits and scales, and checks them.
    pub fn open(
        body: &Body,
        part: &Part,
        block: usize,
        name: &str,
        count: usize,
    ) -> Result<Self, FederateError> {
        let which = match &part.which {
            WhichPlace::All => Which::All,
            WhichPlace::Indices(range) => Which::Indices(indices(body, range, name, count)?),
            WhichPlace::Bitmap(range) => bitmap(body, range, name, count, part.sent)?,
        };
        let values = match &part.values {
            ValuePlace::Float(dtype, range) => Values::Float(*dtype, range.start),
            ValuePlace::Int8(range, scales) => {
                let mut numbers = vec![0.0; part.sent.div_ceil(block)];
                body.read_f32(scales.start, &mut numbers)?;
                if let Some(scale) = numbers.iter().find(|s| !s.is_finite() || **s < 0.0) {
                    let found = format!("a scale of {scale}");
                    return Err(tensor_error(name, found, "finite ones, not below 0"));
                }
                Values::Int8 { at: range.start, scales: numbers, block }
            }
            ValuePlace::Whole(range) => Values::Whole(range.clone()),
        };
        Ok(Self { which, values })
    }

    /// The values from `first`, where they can be used as they lie.
    pub fn borrow<'a>(&self, body: &'a Body, first: usize, count: usize) -> Option<&'a [f32]> {
        match (&self.which, &self.values) {
            (Which::All, Values::Float(DType::F32, at)) => {
                body.floats(at + (first * size_of::<f32>()) as u64, count)
            }
            _ => None,
        }
    }

    /// The values from `first`, zeros where none was sent.
    pub fn read(&self, body: &Body, first: usize, out: &mut [f32]) -> Result<(), FederateError> {
        match &self.which {
            Which::All => self.read_sent(body, first, out),
            Which::Indices(indices) => {
                let from = indices.partition_point(|&index| (index as usize) < first);
                let end = first + out.len();
                let inside = indices[from..].iter().map(|&index| index as usize);
                self.scatter(body, from, inside.take_while(|&index| index < end), first, out)
            }
            Which::Bitmap(words, ranks) => {
                let word = first / WORD_BITS;
                let near = word / RANK_WORDS;
                let whole: u32 =
                    words[near * RANK_WORDS..word].iter().map(|word| word.count_ones()).sum();
                let below = words[word] & ((1_u64 << (first % WORD_BITS)) - 1);
                let from = (ranks[near] + whole + below.count_ones()) as usize;
                let inside = (first..first + out.len())
                    .filter(|index| words[index / WORD_BITS] >> (index % WORD_BITS) & 1 == 1);
                self.scatter(body, from, inside, first, out)
            }
        }
    }

    /// Adds the whole numbers to `sum`, modulo 2^32, where they are some.
    pub fn add_whole(&self, body: &Body, sum: &mut [u32]) -> Result<bool, FederateError> {
        let Values::Whole(range) = &self.values else { return Ok(false) };
        let mut at = range.start;
        for sum in sum.chunks_mut(BUFFER_BYTES) {
            let end = at + size_of_val(sum) as u64;
            let words = body.read_u32(&(at..end))?;
            sum.iter_mut().zip(words).for_each(|(sum, word)| *sum = sum.wrapping_add(word));
            at = end;
        }
        Ok(true)
    }

    /// Puts the sent values, from the one numbered `from`, to their places.
    fn scatter(
        &self,
        body: &Body,
        mut from: usize,
        mut places: impl Iterator<Item = usize>,
        first: usize,
        out: &mut [f32],
    ) -> Result<(), FederateError> {
        const CHUNK: usize = 512;
        out.fill(0.0);
        let (mut indices, mut values) = ([0; CHUNK], [0.0; CHUNK]);
        loop {
            let mut count = 0;
            for (slot, place) in indices.iter_mut().zip(&mut places) {
                *slot = place;
                count += 1;
            }
            if count == 0 {
                return Ok(());
            }
            self.read_sent(body, from, &mut values[..count])?;
            for (index, value) in indices[..count].iter().zip(&values) {
                out[index - first] = *value;
            }
            from += count;
        }
    }

    /// The sent values from the one numbered `from`.
    fn read_sent(&self, body: &Body, from: usize, out: &mut [f32]) -> Result<(), FederateError> {
        let mut buffer = [0_u8; BUFFER_BYTES];
        match &self.values {
            Values::Float(DType::F32, at) => {
                body.read_f32(at + (from * size_of::<f32>()) as u64, out)
            }
            Values::Float(dtype, at) => {
                let mut at = at + 2 * from as u64;
                for out in out.chunks_mut(BUFFER_BYTES / 2) {
                    let bytes = &mut buffer[..2 * out.len()];
                    body.read(at, bytes)?;
                    at += bytes.len() as u64;
                    for (out, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                        *out = match dtype {
                            DType::F16 => f16::from_le_bytes(*bytes).to_f32(),
                            _ => bf16::from_le_bytes(*bytes).to_f32(),
                        };
                    }
                }
                Ok(())
            }
            // A sum of them is a number, none of them is.
            Values::Whole(_) => Err(field_error("kind", "masked", "delta or weights")),
            Values::Int8 { at, scales, block } => {
                let mut index = from;
                for out in out.chunks_mut(BUFFER_BYTES) {
                    let bytes = &mut buffer[..out.len()];
                    body.read(at + index as u64, bytes)?;
                    for (out, byte) in out.iter_mut().zip(bytes) {
                        *out = f32::from(*byte as i8) * scales[index / block];
                        index += 1;
                    }
                }
                Ok(())
            }
        }
    }
}

fn indices(
    body: &Body,
    range: &Range<u64>,
    name: &str,
    count: usize,
) -> Result<Vec<u32>, FederateError> {
    let indices = body.read_u32(range)?;
    if let Some(pair) = indices.windows(2).find(|pair| pair[0] >= pair[1]) {
        let found = format!("the index {} before {}", pair[0], pair[1]);
        return Err(tensor_error(name, found, "ascending ones, each once"));
    }
    match indices.last() {
        Some(&last) if last as usize >= count => {
            Err(tensor_error(name, format!("the index {last}"), format!("those below {count}")))
        }
        _ => Ok(indices),
    }
}

fn bitmap(
    body: &Body,
    range: &Range<u64>,
    name: &str,
    count: usize,
    sent: usize,
) -> Result<Which, FederateError> {
    let mut words = vec![0_u64; count.div_ceil(WORD_BITS)];
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
    body.read(range.start, &mut bytes[..(range.end - range.start) as usize])?;
    words.iter_mut().for_each(|word| *word = u64::from_le(*word));
    let mut ranks = Vec::with_capacity(words.len().div_ceil(RANK_WORDS));
    let mut set = 0_u32;
    for group in words.chunks(RANK_WORDS) {
        ranks.push(set);
        set += group.iter().map(|word| word.count_ones()).sum::<u32>();
    }
    let used = count % WORD_BITS;
    let is_past_end = used > 0 && words.last().is_some_and(|word| word >> used != 0);
    if set as usize != sent || is_past_end {
        let found = format!("{set} bits of its bitmap set");
        return Err(tensor_error(name, found, format!("{sent}, all of them below {count}")));
    }
    Ok(Which::Bitmap(words, ranks))
}
