//! Owns the place of a manifest in a component: a custom section.
//!
//! ```text
//! component = preamble section*
//! preamble  = 00 61 73 6d, u16 version, u16 layer         8 bytes
//! section   = u8 id, u32 size in LEB128, size bytes       custom: id 0
//! custom    = u32 length in LEB128, name, body
//! ```
//!
//! Only sections of the component itself count, not those of what it contains. Refuses to judge the
//! rest of the component; the compiler does. Bound: one pass over the headers of the sections, and
//! [`SECTION_BYTES_MAX`].

use crate::error::ManifestError;

/// The name of the section.
pub const SECTION_NAME: &str = "truststram:manifest";
/// Most bytes of its body.
pub const SECTION_BYTES_MAX: usize = 64 << 10;

const PREAMBLE_BYTES: usize = 8;
const CUSTOM: u8 = 0;

/// The body of the manifest's section, if the component has one. Bytes that are no component have
/// none.
pub(crate) fn find(component: &[u8]) -> Result<Option<&[u8]>, ManifestError> {
    let mut rest = component.get(PREAMBLE_BYTES..).unwrap_or_default();
    let mut found = None;
    while let Some((id, body, after)) = next(rest) {
        rest = after;
        let Some(body) = (id == CUSTOM).then(|| named(body)).flatten() else { continue };
        if body.len() > SECTION_BYTES_MAX {
            let (bytes, bytes_max) = (body.len(), SECTION_BYTES_MAX);
            return Err(ManifestError::SectionTooLarge { bytes, bytes_max });
        }
        if found.replace(body).is_some() {
            return Err(ManifestError::TwoSections);
        }
    }
    Ok(found)
}

/// Adds the section to a component that has none.
pub(crate) fn append(component: &mut Vec<u8>, body: &[u8]) {
    let mut content = Vec::with_capacity(SECTION_NAME.len() + body.len() + 2);
    write_length(&mut content, SECTION_NAME.len());
    content.extend_from_slice(SECTION_NAME.as_bytes());
    content.extend_from_slice(body);
    component.push(CUSTOM);
    write_length(component, content.len());
    component.extend_from_slice(&content);
}

/// The first section: its id, its content, and what follows.
fn next(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (id, bytes) = bytes.split_first()?;
    let (length, bytes) = read_length(bytes)?;
    let (content, after) = bytes.split_at_checked(length)?;
    Some((*id, content, after))
}

/// The body of a custom section with the manifest's name.
fn named(content: &[u8]) -> Option<&[u8]> {
    let (length, content) = read_length(content)?;
    let (name, body) = content.split_at_checked(length)?;
    (name == SECTION_NAME.as_bytes()).then_some(body)
}

fn read_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u32;
    for (at, byte) in bytes.iter().enumerate().take(5) {
        let bits = u32::from(byte & 0x7f);
        // The fifth byte has room for four bits.
        if at == 4 && bits > 0xf {
            return None;
        }
        value |= bits << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value as usize, &bytes[at + 1..]));
        }
    }
    None
}

fn write_length(bytes: &mut Vec<u8>, mut length: usize) {
    loop {
        let bits = (length & 0x7f) as u8;
        length >>= 7;
        bytes.push(if length == 0 { bits } else { bits | 0x80 });
        if length == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: [u8; PREAMBLE_BYTES] = [0, b'a', b's', b'm', 13, 0, 1, 0];

    #[test]
    fn what_is_appended_is_found_between_other_sections() {
        for length in [0, 1, 100, 127, 128, 20_000, SECTION_BYTES_MAX] {
            let mut component = EMPTY.to_vec();
            component.extend_from_slice(&[0, 3, 1, b'x', 7]);
            assert!(find(&component).unwrap().is_none());
            let body = vec![b'y'; length];
            append(&mut component, &body);
            component.extend_from_slice(&[9, 1, 0]);
            assert_eq!(find(&component).unwrap(), Some(&body[..]));
            append(&mut component, &body);
            assert!(matches!(find(&component), Err(ManifestError::TwoSections)));
        }
        let mut component = EMPTY.to_vec();
        append(&mut component, &vec![0; SECTION_BYTES_MAX + 1]);
        assert!(matches!(find(&component), Err(ManifestError::SectionTooLarge { .. })));
    }

    #[test]
    fn bytes_that_are_no_component_have_none() {
        let mut whole = EMPTY.to_vec();
        append(&mut whole, b"{}");
        for end in 0..whole.len() {
            assert!(find(&whole[..end]).unwrap().is_none(), "cut at {end}");
        }
        let huge: [&[u8]; 4] = [
            &[0, 0xff, 0xff, 0xff, 0xff, 0x0f],
            &[0, 0xff, 0xff, 0xff, 0xff, 0x7f],
            &[0, 0x80, 0x80, 0x80, 0x80, 0x80],
            &[0, 1, 0x7f],
        ];
        for section in huge {
            assert!(find(&[&EMPTY, section].concat()).unwrap().is_none(), "{section:?}");
        }
    }
}
