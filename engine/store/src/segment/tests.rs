//! Segments hold what was put in, fill their places, and refuse what was never written.

use std::sync::Arc;

use truststram_base::{ModelId, ModelVersion, PredictionRecord, RequestId, UserId};

use super::columns::RAW_BYTES_MAX;
use super::*;
use crate::envelope::{self, HEADER_BYTES};
use crate::row::Row;

fn random(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

fn rows(seed: u64, count: u64, feature_count_max: u64) -> Vec<Arc<Row>> {
    let mut random = random(seed);
    let mut sequence = 1 << 40;
    let mut row = || {
        sequence += 1 + random(3);
        let times = [i64::MIN, -1, 0, i64::MAX, 1_794_700_800_000_000];
        Arc::new(Row {
            sequence,
            record: PredictionRecord {
                request: RequestId(u128::from(random(u64::MAX)) << 64 | u128::from(sequence)),
                model: ModelId::new("m").unwrap(),
                version: ModelVersion(random(1 << 32) as u32),
                user: ["ana", "Žofie", "x"]
                    .get(random(4) as usize)
                    .map(|u| UserId::new(u).unwrap()),
                timestamp_us: times[random(5) as usize].wrapping_add(random(1_000) as i64),
                features: (0..random(feature_count_max + 1))
                    .map(|_| f32::from_bits(random(1 << 32) as u32))
                    .collect(),
                class: random(1 << 32) as u32,
                confidence: f32::from_bits(random(1 << 32) as u32),
            },
        })
    };
    (0..count).map(|_| row()).collect()
}

/// Compared bit by bit: features may be no numbers.
fn bits(row: &Row) -> (u64, Vec<u32>, String) {
    let record = &row.record;
    let mut bits: Vec<u32> = record.features.iter().map(|feature| feature.to_bits()).collect();
    bits.push(record.confidence.to_bits());
    let rest = (record.request, &record.user, record.timestamp_us, record.class, record.version);
    (row.sequence, bits, format!("{rest:?}"))
}

#[test]
fn what_was_packed_is_unpacked() {
    let mut packer = Packer::new().unwrap();
    let model = ModelId::new("m").unwrap();
    for (seed, count, features) in
        [(1, 1, 0), (2, 7, 3), (3, 2_000, 64), (4, 3_000, 1), (5, 40, 9_000), (6, 1, 65_536)]
    {
        let rows = rows(seed, count, features);
        let sealed = packer.pack(&model, &rows).unwrap();
        let mut found = Vec::new();
        for segment in &sealed {
            let columns = decode(&segment.frame, segment.last_sequence).unwrap();
            assert_eq!(columns.row_count(), segment.row_count as usize);
            assert_eq!(columns.sequences.first(), Some(&segment.first_sequence));
            for at in 0..columns.row_count() {
                found.push(bits(&columns.row(at).unwrap()));
            }
        }
        assert!(found == rows.iter().map(|row| bits(row)).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn segments_fill_the_places_that_redb_gives_them() {
    let mut packer = Packer::new().unwrap();
    let model = ModelId::new("m").unwrap();
    for (seed, features) in [(1, 0), (2, 8), (3, 64), (4, 700)] {
        let rows = rows(seed, 20_000, features);
        let sealed = packer.pack(&model, &rows).unwrap();
        let whole = &sealed[..sealed.len() - 1];
        let used: usize = whole.iter().map(|segment| segment.frame.len()).sum();
        let places = whole.iter().map(|segment| (segment.frame.len() + 512).next_power_of_two());
        let places: usize = places.sum();
        assert!(used * 100 > places * 75, "{used} of {places} bytes with {features} features");
    }
}

#[test]
fn every_flipped_bit_is_damage_and_no_length_is_believed() {
    let rows = rows(9, 20, 8);
    let mut packer = Packer::new().unwrap();
    let sealed = packer.pack(&ModelId::new("m").unwrap(), &rows).unwrap().remove(0);
    for bit in 0..sealed.frame.len() * 8 {
        let mut frame = sealed.frame.clone();
        frame[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&frame, sealed.last_sequence).is_err(), "bit {bit}");
        // The same with a checksum that fits: nothing panics and nothing large is made.
        envelope::seal(sealed.last_sequence, &mut frame);
        if let Ok(columns) = decode(&frame, sealed.last_sequence) {
            assert!(columns.memory_bytes() < 4 * RAW_BYTES_MAX);
        }
    }
    for length in 0..sealed.frame.len() {
        let mut frame = sealed.frame[..length].to_vec();
        if length >= HEADER_BYTES {
            envelope::seal(sealed.last_sequence, &mut frame);
        }
        assert!(decode(&frame, sealed.last_sequence).is_err(), "{length} bytes");
    }
}
