//! Hostile and honest model files: what is accepted survives a round trip,
//! what is refused is named.

use std::fs;

use super::*;
use crate::spec::Preprocessing;
use crate::testing::small_model;

/// Bytes of a container with this header and data.
fn container(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

/// The small model's container with its header text changed.
fn with_header(change: impl FnOnce(String) -> String) -> Vec<u8> {
    let bytes = small_model(0.0).to_bytes().unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = String::from_utf8(bytes[8..8 + length].to_vec()).unwrap();
    container(&change(header), &bytes[8 + length..])
}

#[test]
fn a_model_survives_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    for shift in [0.0, 1.5] {
        let model = small_model(shift);
        model.write(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes, model.to_bytes().unwrap());
        assert_eq!(ModelFile::parse(&bytes).unwrap(), model);
        let peer = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(peer.tensor("layers.0.weight").unwrap().shape(), [4, 2]);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");
    let error = small_model(0.0).write(&folder.path().join("none/model")).unwrap_err();
    assert_eq!(error.kind(), truststram_base::Kind::NotFound);
}

#[test]
fn every_truncation_is_refused() {
    let bytes = small_model(0.0).to_bytes().unwrap();
    for length in 0..bytes.len() {
        assert!(ModelFile::parse(&bytes[..length]).is_err(), "cut off at {length}");
    }
}

#[test]
fn every_flipped_byte_of_the_header_is_survived() {
    let bytes = small_model(0.0).to_bytes().unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for at in 0..8 + length {
        for mask in [0x01, 0x10, 0x80, 0xff] {
            let mut hostile = bytes.clone();
            hostile[at] ^= mask;
            // A flip inside a name or a number may still be a valid model; none may panic.
            let _ = ModelFile::parse(&hostile);
        }
    }
}

#[test]
fn hostile_files_are_refused_by_name() {
    let check = |bytes: &[u8], expected: &str| {
        let text = ModelFile::parse(bytes).unwrap_err().to_string();
        assert!(text.contains(expected), "{text:?} does not say {expected:?}");
    };
    let swap = |from: &'static str, to: &'static str| {
        with_header(|header| {
            assert!(header.contains(from), "{header}");
            header.replacen(from, to, 1)
        })
    };
    check(b"", "length is cut off");
    check(&u64::MAX.to_le_bytes(), "header has 18446744073709551615 bytes");
    check(&1_000u64.to_le_bytes(), "header is cut off");
    check(&container("[]", b""), "header cannot be read");
    check(&container("{", b""), "header cannot be read");
    check(&container(r#"{"__metadata__":{}}"#, b""), "without `truststram.model`");
    check(&container(r#"{"__metadata__":{"truststram.model":"1"}}"#, b""), "description cannot");
    check(&swap("dense", "dance"), "description cannot be read");
    check(&swap("[2,4,3]", "[2,0,3]"), "`layers` is a level of 0");
    check(&swap("[2,4,3]", "[2,9,3]"), "`layers.0.weight` has F32 [4, 2], expected F32 [9, 2]");
    check(&swap("layers.0.bias", "layers.7.bias"), "`layers.0.bias` has no place");
    check(&swap("F32", "F16"), "has F16");
    check(&swap("[4,2]", "[2,4]"), "`layers.0.weight` has F32 [2, 4], expected F32 [4, 2]");
    check(&swap("[0,16]", "[0,18446744073709551615]"), "expected a start at 0");
    check(&swap("[0,16]", "[16,0]"), "expected a start at 0");
    check(&swap("[0,16]", "[4,16]"), "the offsets 4 to 16");
    check(
        &with_header(|header| {
            let extra = r#"{"extra":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"#;
            header.replacen('{', extra, 1)
        }),
        "`extra` has a place in the file",
    );
    let mut longer = small_model(0.0).to_bytes().unwrap();
    longer.push(0);
    check(&longer, "data is 109 bytes, expected 108 bytes");
    let mut not_a_number = small_model(0.0).to_bytes().unwrap();
    let last = not_a_number.len() - 4;
    not_a_number[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    check(&not_a_number, "`layers.1.weight` has NaN at index 11");
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let (spec, layers) = small_model(0.0).into_parts();
    assert!(ModelFile::new(spec.clone(), layers[..1].to_vec()).is_err());
    let mut short = layers.clone();
    short[1].bias.pop();
    assert!(ModelFile::new(spec.clone(), short).is_err());
    let preprocessing = Preprocessing { mean: vec![f32::NAN; 2], scale: vec![1.0; 2] };
    assert!(ModelFile::new(ModelSpec { preprocessing, ..spec }, layers).is_err());
}
