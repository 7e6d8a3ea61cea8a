//! Owns the checks of a page before the library decodes it, so that what a page says of itself can
//! neither make the library panic nor take memory that its bytes do not justify.
//!
//! Refuses to decode values. Bound: [`FEATURE_COUNT_MAX`] elements of one row, counted in the
//! levels as they are stored; the page itself is bounded by `source`.

use bytes::Bytes;
use parquet::basic::{Encoding, Type};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::SerializedPageReader;
use truststram_base::limits::FEATURE_COUNT_MAX;

use super::encoded::{self, cut_off, damaged};
use super::schema::Leaf;
use super::source::Source;

/// The checked pages of one column of one row group.
pub(super) struct Pages {
    inner: SerializedPageReader<Source>,
    check: PageCheck,
    /// The page after the current one: whether a row can go on there decides how it is decoded.
    ahead: Option<Page>,
    is_started: bool,
}

impl Pages {
    pub fn new(inner: SerializedPageReader<Source>, leaf: &Leaf) -> Self {
        Self { inner, check: PageCheck::new(leaf), ahead: None, is_started: false }
    }

    fn fetch(&mut self) -> Result<Option<Page>> {
        let page = self.inner.get_next_page()?;
        if let Some(page) = &page {
            self.check.page(page)?;
        }
        Ok(page)
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        if !self.is_started {
            self.is_started = true;
            self.ahead = self.fetch()?;
        }
        let page = self.ahead.take();
        if page.is_some() {
            self.ahead = self.fetch()?;
        }
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        Err(ParquetError::NYI("pages are read in order".into()))
    }

    fn skip_next_page(&mut self) -> Result<()> {
        Err(ParquetError::NYI("pages are read in order".into()))
    }

    /// A page of version 2 begins with a new row; one of version 1 may go on with the last.
    fn at_record_boundary(&mut self) -> Result<bool> {
        Ok(!matches!(self.ahead, Some(Page::DataPage { .. } | Page::DictionaryPage { .. })))
    }
}

/// What is checked, and what the pages so far leave open.
struct PageCheck {
    physical: Type,
    is_list: bool,
    definition_max: i16,
    has_dictionary: bool,
    /// Elements so far of the row that the next page may go on with.
    element_count: usize,
}

impl PageCheck {
    fn new(leaf: &Leaf) -> Self {
        Self {
            physical: leaf.physical,
            is_list: leaf.is_list,
            definition_max: leaf.definition_max,
            has_dictionary: false,
            element_count: 0,
        }
    }

    fn page(&mut self, page: &Page) -> Result<()> {
        match page {
            Page::DictionaryPage { buf, num_values, encoding, .. } => {
                if !matches!(encoding, Encoding::PLAIN | Encoding::PLAIN_DICTIONARY) {
                    return damaged("a dictionary is encoded in an unknown way");
                }
                self.has_dictionary = true;
                self.plain(buf, *num_values as usize)
            }
            Page::DataPage {
                buf,
                num_values,
                encoding,
                def_level_encoding,
                rep_level_encoding,
                ..
            } => {
                let mut rest = buf.clone();
                let mut levels = |is_there: bool, encoding: &Encoding| match encoding {
                    _ if !is_there => Ok(Bytes::new()),
                    Encoding::RLE => take_prefixed(&mut rest),
                    _ => damaged("levels are not run-length encoded"),
                };
                let repetition = levels(self.is_list, rep_level_encoding)?;
                let definition = levels(self.definition_max > 0, def_level_encoding)?;
                self.data(&repetition, &definition, &rest, *num_values, *encoding)
            }
            Page::DataPageV2 {
                buf,
                num_values,
                encoding,
                def_levels_byte_len,
                rep_levels_byte_len,
                ..
            } => {
                let repetition_end = *rep_levels_byte_len as usize;
                let levels_end = repetition_end.saturating_add(*def_levels_byte_len as usize);
                if levels_end > buf.len() {
                    return damaged("levels reach past the end of a page");
                }
                let (repetition, definition) =
                    (buf.slice(..repetition_end), buf.slice(repetition_end..levels_end));
                let data = buf.slice(levels_end..);
                self.data(&repetition, &definition, &data, *num_values, *encoding)
            }
        }
    }

    fn data(
        &mut self,
        repetition: &[u8],
        definition: &[u8],
        data: &[u8],
        level_count: u32,
        encoding: Encoding,
    ) -> Result<()> {
        if self.is_list {
            // One bit tells the first element of a row, 0, from the others.
            encoded::levels(repetition, 1, level_count, |level, count| {
                self.elements(level, count)
            })?;
        }
        let mut present_count = level_count as usize;
        if self.definition_max > 0 {
            present_count = 0;
            let width = if self.definition_max == 1 { 1 } else { 2 };
            encoded::levels(definition, width, level_count, |level, count| {
                if i16::from(level) == self.definition_max {
                    present_count += count;
                }
                Ok(())
            })?;
        }
        let is_text = self.physical == Type::BYTE_ARRAY;
        let is_integer = matches!(self.physical, Type::INT32 | Type::INT64);
        match encoding {
            Encoding::PLAIN => self.plain(data, present_count),
            Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY if self.has_dictionary => {
                encoded::check_indices(data, present_count)
            }
            Encoding::BYTE_STREAM_SPLIT if !is_text => self.plain(data, present_count),
            Encoding::DELTA_BINARY_PACKED if is_integer => {
                encoded::check_delta(data, present_count)
            }
            // The library panics on damaged lengths of DELTA_LENGTH_BYTE_ARRAY, and takes more
            // memory than DELTA_BYTE_ARRAY has bytes; few writers choose them by themselves.
            other => Err(ParquetError::NYI(format!("the encoding {other:?} is not read here"))),
        }
    }

    /// Checks that `data` has so many values, of fixed size or with their length in front.
    fn plain(&self, data: &[u8], count: usize) -> Result<()> {
        let size = match self.physical {
            Type::INT64 | Type::DOUBLE => 8,
            Type::INT96 => 12,
            _ => 4,
        };
        let mut rest = data;
        let is_complete = if self.physical == Type::BYTE_ARRAY {
            (0..count).all(|_| {
                let length = rest.split_first_chunk::<4>();
                let value = length
                    .and_then(|(length, after)| after.get(u32::from_le_bytes(*length) as usize..));
                rest = value.unwrap_or_default();
                value.is_some()
            })
        } else {
            count.saturating_mul(size) <= data.len()
        };
        if is_complete { Ok(()) } else { damaged("a page has fewer values than it says") }
    }

    fn elements(&mut self, level: u8, count: usize) -> Result<()> {
        if count > 0 {
            self.element_count =
                if level == 0 { 1 } else { self.element_count.saturating_add(count) };
        }
        if self.element_count > FEATURE_COUNT_MAX {
            let problem = format!("a list has more than {FEATURE_COUNT_MAX} numbers");
            return Err(ParquetError::General(problem));
        }
        Ok(())
    }
}

/// Splits off what a length of 32 bits in front of `rest` says.
fn take_prefixed(rest: &mut Bytes) -> Result<Bytes> {
    let length = rest.first_chunk::<4>().ok_or_else(cut_off)?;
    let end = (u32::from_le_bytes(*length) as usize).saturating_add(4);
    if end > rest.len() {
        return damaged("levels reach past the end of a page");
    }
    let taken = rest.slice(4..end);
    *rest = rest.slice(end..);
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: Leaf = Leaf {
        index: 0,
        physical: Type::FLOAT,
        is_signed: true,
        unit: crate::parquet_file::schema::Unit::Microseconds,
        definition_max: 2,
        definition_element: 2,
        is_list: true,
    };
    const TEXT: Leaf = Leaf { physical: Type::BYTE_ARRAY, is_list: false, ..LIST };

    fn data_page(parts: &[&[u8]], num_values: u32, encoding: Encoding) -> Page {
        let (data, levels) = parts.split_last().unwrap();
        let mut buf = Vec::new();
        for part in levels {
            buf.extend((part.len() as u32).to_le_bytes());
            buf.extend(*part);
        }
        buf.extend(*data);
        Page::DataPage {
            buf: buf.into(),
            num_values,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        }
    }

    fn dictionary(data: &[u8], num_values: u32) -> Page {
        let buf = Bytes::copy_from_slice(data);
        Page::DictionaryPage { buf, num_values, encoding: Encoding::PLAIN, is_sorted: false }
    }

    fn check(leaf: Leaf, pages: &[Page], expected: Option<&str>) {
        let mut check = PageCheck::new(&leaf);
        let found = pages.iter().try_for_each(|page| check.page(page));
        let found = found.map_err(|error| error.to_string()).err();
        assert_eq!(
            found.as_deref(),
            expected.map(|text| format!("Parquet error: {text}")).as_deref()
        );
    }

    /// Runs of 65535 elements that go on with the row before: one more is too many.
    #[test]
    fn a_row_of_many_pages_and_few_bytes_is_seen() {
        let begin: &[u8] = &[0x02, 0];
        let go_on: &[u8] = &[0xfe, 0xff, 0x07, 1];
        let (one, many): (&[u8], &[u8]) = (&[0x02, 0], &[0xfe, 0xff, 0x07, 0]);
        let page = |runs: &[u8], definition: &[u8], count| {
            data_page(&[runs, definition, &[0]], count, Encoding::PLAIN)
        };
        check(LIST, &[page(begin, one, 1), page(go_on, many, 65_535)], None);
        let pages = [page(begin, one, 1), page(go_on, many, 65_535), page(&[0x02, 1], one, 1)];
        check(LIST, &pages, Some("a list has more than 65536 numbers"));
        let endless: &[u8] = &[0x02, 0, 0xfe, 0xff, 0xff, 0xff, 0x0f, 1];
        let pages = [page(endless, many, u32::MAX)];
        check(LIST, &pages, Some("a list has more than 65536 numbers"));
        // Eight rows of one element, and eight elements of the last of them.
        check(LIST, &[page(&[0x05, 0, 0xff], many, 16)], None);
    }

    #[test]
    fn counts_without_bytes_are_seen() {
        let short = Some("a page has fewer values than it says");
        let two_there: &[u8] = &[0x04, 2];
        let text = |data: &[u8]| [data_page(&[two_there, data], 2, Encoding::PLAIN)];
        check(TEXT, &text(&[1, 0, 0, 0, b'a', 0, 0, 0, 0]), None);
        check(TEXT, &text(&[1, 0, 0, 0, b'a']), short);
        check(TEXT, &text(&[1, 0, 0, 0, b'a', 1, 0, 0, 0]), short);
        check(TEXT, &text(&[0xff, 0xff, 0xff, 0xff, b'a', 0, 0, 0, 0]), short);
        check(TEXT, &[dictionary(&[0, 0, 0, 0], 1)], None);
        check(TEXT, &[dictionary(&[0, 0, 0, 0], u32::MAX)], short);
        check(Leaf { physical: Type::DOUBLE, ..LIST }, &[dictionary(&[0; 15], 2)], short);

        let indices = |data: &[u8]| {
            let page = data_page(&[two_there, data], 2, Encoding::RLE_DICTIONARY);
            [dictionary(&[0, 0, 0, 0], 1), page]
        };
        check(TEXT, &indices(&[1, 0x04, 0]), None);
        check(TEXT, &indices(&[1, 0x03, 0]), None);
        check(TEXT, &indices(&[33, 0x04, 0]), Some("indices into a dictionary are too wide"));
        check(TEXT, &indices(&[1, 0x00, 0]), Some("a run of indices is empty"));
        check(TEXT, &indices(&[1, 0x02, 0]), Some("a page is cut off"));
        check(TEXT, &indices(&[[1].as_slice(), &[0xff; 11]].concat()), Some("a page is cut off"));

        let whole = Leaf { physical: Type::INT64, is_list: false, ..LIST };
        let delta = |data: &[u8]| [data_page(&[two_there, data], 2, Encoding::DELTA_BINARY_PACKED)];
        let other = Some("a page has another number of values than it says");
        check(whole, &delta(&[0x80, 1, 4, 2, 0, 0, 0, 0, 0, 0]), None);
        check(whole, &delta(&[0x80, 1, 4, 3, 0, 0, 0, 0, 0, 0]), other);
        check(whole, &delta(&[0x80, 1, 0, 2, 0, 0, 0, 0, 0, 0]), other);
        check(whole, &delta(&[0x80, 1, 8, 2, 0, 0, 0, 0, 0, 0]), other);
        check(whole, &delta(&[0x80, 1, 4, 2, 0, 0]), Some("a page is cut off"));
    }
}
