//! Updates there and back in every encoding, and bodies that lie.

use std::io::{Seek, Write};

use truststram_base::Kind as Cause;

use super::*;
use crate::aggregate::Rows;
use crate::error::FederateError;
use crate::random::Random;

const HEAD: Head = Head { kind: Kind::Delta, base: 7, block: Number::BLOCK };

fn schema(shapes: &[&[usize]]) -> Schema {
    let tensor = |(index, shape): (usize, &&[usize])| SchemaTensor {
        name: format!("t{index}"),
        shape: shape.to_vec(),
    };
    Schema::new(shapes.iter().enumerate().map(tensor).collect()).unwrap()
}

/// A body with this header and data.
fn body(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

fn described(tensors: &str, data: &[u8]) -> Vec<u8> {
    described_as("delta", tensors, data)
}

fn described_as(kind: &str, tensors: &str, data: &[u8]) -> Vec<u8> {
    let text = format!(r#"{{\"kind\":\"{kind}\",\"base\":7,\"block\":16}}"#);
    let metadata = format!(r#""__metadata__":{{"truststram.update":"{text}"}}"#);
    body(&format!("{{{metadata},{tensors}}}"), data)
}

fn whole(rows: &impl Rows) -> Vec<f32> {
    let mut values = vec![9.0; rows.len()];
    rows.read(0, &mut values).unwrap();
    values
}

#[test]
fn every_encoding_comes_back_within_what_it_states() {
    let mut seeded = Random::new(1, 0);
    for round in 0..60 {
        let shapes = [[1 + seeded.below(40), 1 + seeded.below(90)], [1, 1 + seeded.below(300)]];
        let schema = schema(&[&shapes[0], &shapes[1], &[1]]);
        let values = seeded.numbers(schema.parameters());
        for (name, error) in [
            ("f32", 0.0),
            ("f16", 1.0 / 2_048.0),
            ("bf16", 1.0 / 256.0),
            ("int8", 0.5 / 127.0 + 1e-6),
            ("top-0.01-f32", 1.0),
            ("top-0.1-f16", 1.0),
            ("top-0.3-int8", 1.0),
            ("top-1-bf16", 1.0 / 256.0),
        ] {
            let encoding: Encoding = name.parse().unwrap();
            assert_eq!(encoding.to_string(), name);
            let bytes = encode(&values, &schema, HEAD, encoding).unwrap();
            assert!(bytes.len() as u64 <= body_bytes_max(&schema), "{name}");
            let received = Received::of_bytes(bytes.clone(), &schema).unwrap();
            assert_eq!(received.head(), HEAD);
            let found = whole(&received);
            for (value, found) in values.iter().zip(&found) {
                assert!((value - found).abs() <= error, "{name}: {value} {found}");
            }
            let norm = found.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            assert!(
                (measure(&received, &schema).unwrap().l2_norm - norm).abs() < 1e-9 * norm.max(1.0)
            );
            // From a file, and from anywhere, the same bits.
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            file.rewind().unwrap();
            let stored = Received::of_file(file, &schema).unwrap();
            let first = seeded.below(found.len());
            let mut part = vec![0.0; 1 + seeded.below(found.len() - first)];
            stored.read(first, &mut part).unwrap();
            assert_eq!(part, found[first..first + part.len()], "{name} {round}");
            if let Some(lent) = received.borrow(first, part.len()) {
                assert_eq!(lent, part, "{name}");
            }
        }
    }
}

#[test]
fn the_largest_values_are_sent_and_the_rest_later() {
    let schema = schema(&[&[100]]);
    let mut delta = vec![0.001; 100];
    delta[40] = -5.0;
    delta[41] = 4.0;
    let encoding: Encoding = "top-0.02-f32".parse().unwrap();
    let mut feedback = ErrorFeedback::new(&schema);
    let mut sent = vec![0.0; 100];
    for round in 0..2_000 {
        let change = if round == 0 { delta.clone() } else { vec![0.0; 100] };
        let bytes = feedback.encode(&change, &schema, HEAD, encoding).unwrap();
        let received = whole(&Received::of_bytes(bytes, &schema).unwrap());
        assert!(received.iter().filter(|value| **value != 0.0).count() <= 2);
        if round == 0 {
            assert_eq!((received[40], received[41]), (-5.0, 4.0));
        }
        sent.iter_mut().zip(received).for_each(|(sent, value)| *sent += value);
    }
    assert_eq!(sent, delta, "all of it arrives in the end");
    assert!(feedback.residual().iter().all(|value| *value == 0.0));
}

#[test]
fn sizes_are_those_of_the_arithmetic() {
    let schema = schema(&[&[100_000]]);
    let values = Random::new(3, 0).numbers(100_000);
    let size = |name: &str| {
        let bytes = encode(&values, &schema, HEAD, name.parse().unwrap()).unwrap();
        400_000.0 / bytes.len() as f64
    };
    assert!(size("int8") > 3.9);
    assert!(size("top-0.1-f32") > 7.5, "a bitmap is shorter than indices");
    assert!(size("top-0.01-int8") > 75.0);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let schema = schema(&[&[2, 2], &[3]]);
    let check = |bytes: Vec<u8>, cause: Cause, expected: &str| {
        let error =
            Received::of_bytes(bytes, &schema).and_then(|r| measure(&r, &schema)).unwrap_err();
        assert_eq!(error.kind(), cause, "{error}");
        assert!(error.to_string().contains(expected), "{error} does not say {expected}");
    };
    let invalid = |tensors: &str, data: &[u8], expected: &str| {
        check(described(tensors, data), Cause::Invalid, expected);
    };
    let f32s = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let dense = |name: &str, shape: &str, range: &str| {
        format!(r#""{name}":{{"dtype":"F32","shape":{shape},"data_offsets":{range}}}"#)
    };
    let both = |a: String, b: String| format!("{a},{b}");
    let good = [0.5; 7];

    // The failures of Flower 1.41 that the server must refuse, each for one update alone.
    let names = both(dense("t0", "[2,2]", "[0,16]"), dense("other", "[3]", "[16,28]"));
    invalid(&names, &f32s(&good), "`t1` has no place in the update");
    let shape = both(dense("t0", "[4]", "[0,16]"), dense("t1", "[3]", "[16,28]"));
    invalid(&shape, &f32s(&good), "`t0` has F32 [4], expected f32 or f16 or bf16 [2, 2]");
    let broadcast = both(dense("t0", "[1]", "[0,4]"), dense("t1", "[3]", "[4,16]"));
    invalid(&broadcast, &f32s(&good[..4]), "`t0` has F32 [1]");
    let fits = both(dense("t0", "[2,2]", "[0,16]"), dense("t1", "[3]", "[16,28]"));
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = good;
        values[5] = value;
        invalid(&fits, &f32s(&values), "at index 1, expected finite numbers only");
    }
    measure(&Received::of_bytes(described(&fits, &f32s(&good)), &schema).unwrap(), &schema)
        .unwrap();

    // Order does not matter; offsets that overlap, leave gaps or repeat do.
    let turned = both(dense("t1", "[3]", "[16,28]"), dense("t0", "[2,2]", "[0,16]"));
    Received::of_bytes(described(&turned, &f32s(&good)), &schema).unwrap();
    let overlap = both(dense("t0", "[2,2]", "[0,16]"), dense("t1", "[3]", "[12,24]"));
    invalid(&overlap, &f32s(&good[..6]), "offsets");
    let same = both(dense("t0", "[2,2]", "[0,16]"), dense("t0", "[2,2]", "[0,16]"));
    invalid(&same, &f32s(&good[..4]), "is there twice");
    let extra = both(fits.clone(), dense("t2", "[0]", "[28,28]"));
    invalid(&extra, &f32s(&good), "`t2` has a place in the update");
    let wide =
        fits.replacen("F32", "F64", 1).replace("[0,16]", "[0,32]").replace("[16,28]", "[32,44]");
    invalid(&wide, &[0; 44], "`t0` has F64 [2, 2]");

    // Descriptions.
    check(
        body(&format!("{{{fits}}}"), &f32s(&good)),
        Cause::Invalid,
        "without `truststram.update`",
    );
    check(vec![1, 2], Cause::Invalid, "2 bytes");
    check(body("{", &[]), Cause::Invalid, "JSON");
    let mut long = vec![0xff; 8];
    long.extend_from_slice(&[0; 100]);
    check(long, Cause::TooLarge, "header");
    let most = body_bytes_max(&schema) as usize;
    check(vec![0; most + 1], Cause::TooLarge, "the limit for this model");
}

#[test]
fn lists_of_places_that_lie() {
    let schema = schema(&[&[40]]);
    let check = |tensors: &str, data: &[u8], expected: &str| {
        let error = Received::of_bytes(described(tensors, data), &schema).unwrap_err();
        assert_eq!(error.kind(), Cause::Invalid);
        assert!(error.to_string().contains(expected), "{error} does not say {expected}");
    };
    let part = |name: &str, dtype: &str, count: usize, start: usize, bytes: usize| {
        let end = start + bytes;
        format!(
            r#""t0#{name}":{{"dtype":"{dtype}","shape":[{count}],"data_offsets":[{start},{end}]}}"#
        )
    };
    let listed = format!("{},{}", part("indices", "U32", 2, 0, 8), part("values", "F32", 2, 8, 8));
    let data = |indices: [u32; 2]| {
        let mut data: Vec<u8> = indices.iter().flat_map(|index| index.to_le_bytes()).collect();
        data.extend([0; 8]);
        data
    };
    check(&listed, &data([3, 3]), "ascending");
    check(&listed, &data([9, 3]), "ascending");
    check(&listed, &data([3, 40]), "the index 40, expected those below 40");
    check(&listed, &data([3, u32::MAX]), "those below 40");
    Received::of_bytes(described(&listed, &data([0, 39])), &schema).unwrap();
    let many =
        format!("{},{}", part("indices", "U32", 41, 0, 164), part("values", "F16", 41, 164, 82));
    check(&many, &[0; 246], "41 values, expected 1 to 40");
    let bits = format!("{},{}", part("bitmap", "U8", 5, 0, 5), part("values", "F16", 2, 5, 4));
    check(&bits, &[0xff, 0, 0, 0, 0, 0, 0, 0, 0], "8 bits of its bitmap set, expected 2");
    let short = format!("{},{}", part("bitmap", "U8", 4, 0, 4), part("values", "F16", 2, 4, 4));
    check(&short, &[3, 0, 0, 0, 0, 0, 0, 0], "U8 [4], expected u8 [5]");
    check(&part("indices", "U32", 2, 0, 8), &[0; 8], "no place in the update");
    let scales = |count| {
        let parts = [part("indices", "U32", 20, 0, 80), part("int8", "I8", 20, 80, 20)];
        format!("{},{},{}", parts[0], parts[1], part("scales", "F32", count, 100, 4 * count))
    };
    check(&scales(1), &[0; 104], "expected f32 [2]");
    let mut data: Vec<u8> = (0..20_u32).flat_map(|index| index.to_le_bytes()).collect();
    data.extend([1; 20]);
    data.extend(1.0_f32.to_le_bytes());
    data.extend(f32::NAN.to_le_bytes());
    check(&scales(2), &data, "a scale of NaN");
    let weights = described_as("weights", &listed, &[0; 16]);
    let error = Received::of_bytes(weights, &schema).unwrap_err().to_string();
    assert!(error.contains("what is left out of weights is not zero"), "{error}");
}

#[test]
fn hostile_bytes_are_refused_or_read_and_never_a_panic() {
    let mut seeded = Random::new(11, 0);
    let schema = schema(&[&[8, 5], &[300], &[1]]);
    let values = seeded.numbers(schema.parameters());
    let names = ["f32", "int8", "top-0.02-int8", "top-0.3-f16", "top-0.01-f32"];
    let (mut refused, mut read) = (0, 0);
    for round in 0..6_000 {
        let encoding = names[round % names.len()].parse().unwrap();
        let mut bytes = encode(&values, &schema, HEAD, encoding).unwrap();
        for _ in 0..1 + seeded.below(4) {
            let length = bytes.len();
            // Most of what can be lied about stands at the front.
            let area = if seeded.below(3) == 0 { length } else { length.min(600) };
            let at = seeded.below(area);
            match seeded.below(6) {
                0 => bytes.truncate(at.max(1)),
                1 => bytes[at] ^= 1 << seeded.below(8),
                2 => bytes[at] = seeded.next() as u8,
                3 => bytes.insert(at, b"0129]}{\",-"[seeded.below(10)]),
                4 => drop(bytes.remove(at)),
                _ => {
                    let digit = bytes.iter().skip(at).position(u8::is_ascii_digit);
                    if let Some(offset) = digit {
                        bytes[at + offset] = b'0' + seeded.below(10) as u8;
                    }
                }
            }
            if bytes.is_empty() {
                bytes.push(0);
            }
        }
        match Received::of_bytes(bytes, &schema).and_then(|received| {
            measure(&received, &schema)?;
            Ok(whole(&received))
        }) {
            Ok(values) => {
                assert!(values.iter().all(|value| value.is_finite()));
                read += 1;
            }
            Err(error) => {
                assert!(matches!(error.kind(), Cause::Invalid | Cause::TooLarge), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 1_000 && read > 100, "{refused} {read}");
}

#[test]
fn clients_are_told_what_they_cannot_send() {
    let schema = schema(&[&[2]]);
    let check = |values: &[f32], encoding: &str, expected: &str| {
        let error = encode(values, &schema, HEAD, encoding.parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(&[1.0, f32::NAN], "f32", "NaN at index 1");
    check(&[1.0, 70_000.0], "f16", "at most 65519");
    check(&[1.0], "f32", "expected 2");
    for wrong in ["top-0-f32", "top-2-f32", "top-x-f32", "top-f32", "int4", ""] {
        assert!(wrong.parse::<Encoding>().is_err(), "{wrong}");
    }
    let tiny = encode(&[1e-40, 0.0], &schema, HEAD, "int8".parse().unwrap()).unwrap();
    assert_eq!(whole(&Received::of_bytes(tiny, &schema).unwrap()), [0.0, 0.0]);
}

#[test]
fn schemas_that_are_none() {
    let check = |tensors: &[(&str, &[usize])], expected: &str| {
        let tensors = tensors
            .iter()
            .map(|(name, shape)| SchemaTensor { name: (*name).to_owned(), shape: shape.to_vec() });
        let error = Schema::new(tensors.collect()).unwrap_err();
        assert!(matches!(error, FederateError::Schema { .. }));
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(&[], "number of tensors is 0");
    check(&[("a", &[2]), ("a", &[2])], "the same twice");
    check(&[("a", &[2]), ("a#int8", &[2])], "`a#int8`");
    check(&[("a", &[0])], "[0] of `a`");
    check(&[("a", &[1 << 20, 1 << 20])], "2^30");
}

#[test]
fn masked_updates_are_whole_numbers_of_the_model_s_shape() {
    let schema = schema(&[&[2, 3], &[2]]);
    let values: Vec<u32> = (0..8).map(|value| value * 500_000_000).collect();
    let bytes = encode_masked(&values, &schema, 7).unwrap();
    let received = Received::of_bytes(bytes, &schema).unwrap();
    assert_eq!(received.head().kind, Kind::Masked);
    let mut sum = vec![4_000_000_000_u32; 8];
    received.add_masked(&mut sum).unwrap();
    let expected: Vec<u32> = values.iter().map(|value| value.wrapping_add(4_000_000_000)).collect();
    assert_eq!(sum, expected);
    let error = received.read(0, &mut [0.0; 8]).unwrap_err();
    assert!(error.to_string().contains("masked"), "{error}");
    assert!(encode_masked(&values[1..], &schema, 7).is_err());
    let plain = encode(&[0.5; 8], &schema, HEAD, Encoding::DENSE).unwrap();
    let plain = Received::of_bytes(plain, &schema).unwrap();
    assert!(plain.add_masked(&mut sum).unwrap_err().to_string().contains("expected masked"));

    let first = r#""t0":{"dtype":"U32","shape":[2,3],"data_offsets":[0,24]}"#;
    let second = r#""t1":{"dtype":"U32","shape":[2],"data_offsets":[24,32]}"#;
    let check = |kind: &str, tensors: &str, expected: &str| {
        let error = Received::of_bytes(described_as(kind, tensors, &[0; 32]), &schema);
        let error = error.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let floats = first.replace("U32", "F32");
    check("masked", &format!("{floats},{second}"), "`t0`");
    let turned = first.replace("[2,3]", "[3,2]");
    check("masked", &format!("{turned},{second}"), "`t0`");
    let renamed = second.replace("t1", "t2");
    check("masked", &format!("{first},{renamed}"), "`t1`");
    check("delta", &format!("{first},{second}"), "`t0`");
}
