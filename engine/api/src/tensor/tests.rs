//! Tensors in and out: every type, every form, and what is refused.

use serde_json::value::RawValue;

use super::*;

/// Reads one tensor whose list is called `inputs`.
fn one(text: &str, tail: &[u8]) -> Result<WireTensor, String> {
    let text = RawValue::from_string(text.to_owned()).unwrap();
    let mut tail = Tail::new(Bytes::copy_from_slice(tail));
    let read = read_all(&[&text], &mut tail, "inputs");
    read.map(|mut all| all.remove(0)).map_err(|fault| fault.to_string())
}

fn body(datatype: &str, shape: &str, data: &str) -> String {
    format!(r#"{{"name":"x","datatype":"{datatype}","shape":{shape},"data":{data}}}"#)
}

/// What goes in as JSON comes out as JSON, and as bytes in both directions.
#[test]
fn every_type_goes_through_json_and_bytes() {
    let check = |datatype: &str, data: &str, bytes: &[u8]| {
        let count = data.split(',').count();
        let read = one(&body(datatype, &format!("[{count}]"), data), b"").unwrap();
        assert_eq!(&binary(&read).unwrap()[..], bytes, "{datatype} {data}");
        let size = bytes.len();
        let text = format!(
            r#"{{"name":"x","datatype":"{datatype}","shape":[{count}],
                "parameters":{{"binary_data_size":{size}}}}}"#
        );
        assert_eq!(one(&text, bytes).unwrap(), read, "{datatype}");
        let mut out = Vec::new();
        json_data(&mut out, &read).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), data);
    };
    check("BOOL", "[true,false]", &[1, 0]);
    check("INT8", "[-128,127]", &[0x80, 0x7f]);
    check("INT16", "[-2,258]", &[0xfe, 0xff, 2, 1]);
    check("INT32", "[-1,1]", &[255, 255, 255, 255, 1, 0, 0, 0]);
    check("INT64", "[-9223372036854775808]", &i64::MIN.to_le_bytes());
    check("UINT8", "[0,255]", &[0, 255]);
    check("UINT16", "[65535]", &[255, 255]);
    check("UINT32", "[4294967295]", &[255; 4]);
    check("UINT64", "[18446744073709551615]", &[255; 8]);
    check("FP16", "[1.0,-2.0,0.5]", &[0, 0x3c, 0, 0xc0, 0, 0x38]);
    check("BF16", "[1.0,-2.0]", &[0x80, 0x3f, 0, 0xc0]);
    check("FP32", "[0.1,16777216.0]", &[0xcd, 0xcc, 0xcc, 0x3d, 0, 0, 0x80, 0x4b]);
    check("FP64", "[0.1]", &0.1_f64.to_le_bytes());
    check("BYTES", r#"["ab","\n"]"#, &[2, 0, 0, 0, b'a', b'b', 1, 0, 0, 0, b'\n']);
}

#[test]
fn lists_are_flat_or_nested_as_the_shape_says() {
    let check = |shape: &str, data: &str, count: usize| {
        let read = one(&body("UINT8", shape, data), b"").unwrap();
        let expected: Vec<u8> = (1..=count as u8).collect();
        assert_eq!(read.data, TensorData::Raw(expected.into()), "{shape} {data}");
    };
    check("[2,3]", "[1,2,3,4,5,6]", 6);
    check("[2,3]", "[ [1, 2,3],\n[4,5,6 ] ]", 6);
    check("[2,1,2]", "[[[1,2]],[[3,4]]]", 4);
    check("[]", "[1]", 1);
    check("[1,1]", "[[1]]", 1);
    check("[0]", "[]", 0);
    check("[2,0]", "[[],[]]", 0);
    check("[0,3]", "[]", 0);
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let check = |text: &str, tail: &[u8], expected: &str| {
        let error = one(text, tail).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    };
    let json = |datatype: &str, shape: &str, data: &str, expected: &str| {
        check(&body(datatype, shape, data), b"", expected);
    };
    json("FP31", "[1]", "[1]", "inputs[0].datatype must be one of BOOL, INT8");
    json("FP32", "[-1]", "[1]", "inputs[0] is no tensor: invalid value: integer `-1`");
    json("FP32", "[2]", "[1]", "inputs[0].data holds 1 items, the shape says 2");
    json("FP32", "[1]", "[1,2]", "inputs[0].data holds more elements than the shape says, 1");
    json("FP32", "[2,2]", "[[1,2],[3]]", "holds a list at level 2 of 1 items, the shape");
    json("FP32", "[2,2]", "[[1,2]]", "holds a list at level 1 of 1 items, the shape says 2");
    json("FP32", "[1,2]", "[[1,2],[]]", "holds a list at level 2 of 0 items");
    json("FP32", "[2]", "[[1,2]]", "inputs[0].data is nested deeper than the 1 dimensions");
    json("FP32", "[1,1]", "[[[1]]]", "is nested deeper than the 2 dimensions");
    json("FP32", "[2,1]", "[[1],2]", "inputs[0].data[1] is where the shape has a list");
    json("FP32", "[1,2]", "[1,[2]]", "inputs[0].data is nested deeper");
    json("FP32", "[1]", "7", "inputs[0].data must be a list");
    json("FP32", "[1]", "{}", "inputs[0].data[0] is an object");
    json("FP32", "[3]", "[1,null,2]", "inputs[0].data[1] must be a number of FP32, found null");
    json("FP32", "[1]", r#"["NaN"]"#, "must be a number of FP32, found \"NaN\"");
    json("FP32", "[1]", "[1e39]", "must be in the range of FP32, found 1e39");
    json("FP16", "[1]", "[65520]", "must be in the range of FP16");
    json("INT8", "[1]", "[128]", "must be in the range of INT8, found 128");
    json("INT32", "[1]", "[1.5]", "must be in the range of INT32, found 1.5");
    json("BOOL", "[1]", "[1]", "must be true or false, found 1");
    json("BYTES", "[1]", "[1]", "must be text, found 1");
    json("FP32", "[4294967296,4294967296]", "[]", "more elements than can be counted");
    json("FP64", "[99999999999]", "[1]", "holds fewer elements than the shape says");
    json("FP32", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "[1]", "at most 16 items");
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    json("FP32", "[1,1]", &deep, "is nested deeper");
    let sized = |datatype: &str, shape: &str, size: &str| {
        let parameters = format!(r#"{{"binary_data_size":{size}}}"#);
        format!(
            r#"{{"name":"x","datatype":"{datatype}","shape":{shape},"parameters":{parameters}}}"#
        )
    };
    check(&sized("FP32", "[1]", "4"), b"abc", "is 4, but only 3 bytes are left in the body");
    check(&sized("FP32", "[2]", "4"), b"abcd", "2 elements of FP32 take 4 bytes each");
    check(&sized("FP32", "[1]", "-1"), b"", "must be a whole number of bytes");
    check(&sized("BOOL", "[1]", "1"), b"\x02", "neither 0 nor 1");
    check(&sized("BYTES", "[99999999]", "4"), b"\0\0\0\0", "too few for 99999999 elements");
    check(&sized("BYTES", "[1]", "4"), b"\xff\xff\xff\xff", "ends within element 0");
    check(&sized("BYTES", "[1]", "6"), b"\x01\0\0\0ab", "leaves 1 bytes");
    let shared = r#"{"name":"x","datatype":"FP32","shape":[1],
        "parameters":{"shared_memory_region":"r"}}"#;
    check(shared, b"", "shared memory, which is not supported");
    check(r#"{"name":"x","datatype":"FP32","shape":[1]}"#, b"", "has no elements; give `data`");
    check(r#"{"name":"","datatype":"FP32","shape":[1],"data":[1]}"#, b"", "must have 1 to 256");
    check("[]", b"", "is no tensor");
}

#[test]
fn what_json_cannot_express_is_refused() {
    let tensor =
        |datatype, data| WireTensor { name: "y".to_owned(), datatype, shape: vec![2], data };
    let raw = [1.0_f32.to_le_bytes(), f32::NAN.to_le_bytes()].concat();
    let strings = vec![Bytes::from_static(b"a"), Bytes::from_static(b"\xff")];
    let check = |tensor: &WireTensor, expected: &str| {
        let error = json_data(&mut Vec::new(), tensor).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
        assert!(binary(tensor).is_ok());
    };
    let reals = tensor(Datatype::Fp32, TensorData::Raw(raw.into()));
    check(&reals, "element 1 of the output `y` is NaN");
    let bytes = tensor(Datatype::Bytes, TensorData::Strings(strings));
    check(&bytes, "element 1 of the output `y` is not UTF-8");
}

#[test]
fn the_highest_values_are_texts() {
    let check = |datatype: &str, shape: &str, data: &str, names: &[&str], expected: &[&str]| {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let tensor = one(&body(datatype, shape, data), b"").unwrap();
        let top = top_classes(&tensor, 2, &names).unwrap();
        let TensorData::Strings(strings) = &top.data else { panic!("{top:?}") };
        let found: Vec<&str> =
            strings.iter().map(|string| std::str::from_utf8(string).unwrap()).collect();
        assert_eq!(found, expected, "{data}");
        assert_eq!(element_count(&top.shape), Some(found.len()));
    };
    check("UINT32", "[4]", "[1,5,10,4]", &[], &["10:2", "5:1"]);
    check(
        "FP32",
        "[2,2]",
        "[0.5,0.25,1,1]",
        &["a", "b"],
        &["0.500000:0:a", "0.250000:1:b", "1.000000:0:a", "1.000000:1:b"],
    );
    check("INT64", "[2,1]", "[-3,4]", &["a", "b"], &["-3:0", "4:0"]);
    check("FP32", "[0,3]", "[]", &[], &[]);
    let texts = one(&body("BYTES", "[1]", r#"["a"]"#), b"").unwrap();
    assert!(top_classes(&texts, 1, &[]).is_err());
    let raw = [f32::NAN.to_le_bytes(), 1.0_f32.to_le_bytes()].concat();
    let data = TensorData::Raw(raw.into());
    let nan = WireTensor { name: "y".into(), datatype: Datatype::Fp32, shape: vec![2], data };
    let TensorData::Strings(top) = top_classes(&nan, 1, &[]).unwrap().data else { panic!() };
    assert_eq!(top, ["1.000000:1"]);
}
