//! Containers of other writers: types that are read, shapes that lie.

use super::*;

/// Bytes of a container with this header and data.
fn container(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

fn one(dtype: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let length = data.len();
    let entry = format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{length}]}}"#);
    container(&format!(r#"{{"x":{entry}}}"#), data)
}

#[test]
fn every_float_becomes_f32() {
    let check = |dtype: &str, data: &[u8]| {
        let bytes = one(dtype, "[2]", data);
        let mut container = Container::parse(&bytes).unwrap();
        let stored = container.take("x", &[2]).unwrap();
        let mut values = vec![7.0];
        stored.append_f32("x", &mut values).unwrap();
        assert_eq!(values, [7.0, 1.5, -0.25], "{dtype}");
        assert_eq!(container.names().count(), 0);
    };
    check("F32", &[1.5f32, -0.25].map(f32::to_le_bytes).concat());
    check("F64", &[1.5f64, -0.25].map(f64::to_le_bytes).concat());
    check("F16", &[1.5, -0.25].map(|v| f16::from_f32(v).to_le_bytes()).concat());
    check("BF16", &[1.5, -0.25].map(|v| bf16::from_f32(v).to_le_bytes()).concat());
}

#[test]
fn what_lies_is_refused_by_name() {
    let check = |bytes: &[u8], expected: &str| {
        let text = Container::parse(bytes).unwrap_err().to_string();
        assert!(text.contains(expected), "{text:?} does not say {expected:?}");
    };
    check(&one("F32", "[3]", &[0; 8]), "`x` has F32 [3] in 8 bytes, expected 12 bytes");
    check(&one("F8_E4M3", "[8]", &[0; 8]), "`x` has the type `F8_E4M3`, expected one of F32");
    check(&one("F32", "[4611686018427387904,4]", &[0; 8]), "in 8 bytes");
    check(&one("F32", "[18446744073709551615,2]", &[0; 8]), "in 8 bytes");
    check(&one("I8", "[1,1,1,1,1,1,1,1,8]", &[0; 8]), "at most 8 dimensions");
    check(&one("F32", "[-1]", &[0; 8]), "header cannot be read");
    let entry = r#""x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#;
    check(&container(&format!("{{{entry},{entry}}}"), &[0]), "`x` is there twice");
    let texts = r#""__metadata__":{"a":"b"}"#;
    check(&container(&format!("{{{texts},{texts}}}"), &[]), "`__metadata__` is there twice");
    check(&one("F32", "[18446744073709551615,0]", &[0; 8]), "expected 0 bytes");
    let bytes = one("I64", "[1]", &[0; 8]);
    let mut whole = Container::parse(&bytes).unwrap();
    let refused = whole.get("x").unwrap().append_f32("x", &mut Vec::new()).unwrap_err();
    assert!(refused.to_string().contains("`x` has I64 [1]"), "{refused}");
    let refused = whole.take("y", &[1]).unwrap_err().to_string();
    assert!(refused.contains("`y` has no place in the file"), "{refused}");
    let refused = whole.take("x", &[2]).unwrap_err().to_string();
    assert!(refused.contains("`x` has I64 [1], expected I64 [2]"), "{refused}");
    let overflow = one("F64", "[1]", &f64::MAX.to_le_bytes());
    let stored = Container::parse(&overflow).unwrap().take("x", &[1]).unwrap();
    let refused = stored.append_f32("x", &mut Vec::new()).unwrap_err().to_string();
    assert!(refused.contains("`x` has inf at index 0"), "{refused}");
}
