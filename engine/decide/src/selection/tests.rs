//! The selectors against the guide's formulas and the bounds of `selection.wit`.

use super::*;

fn clients(n: usize) -> Clients {
    let column = |value: f32| vec![value; n];
    Clients {
        ids: (0..n as u32).map(|id| 100 + id).collect(),
        samples: vec![1_000; n],
        cpu_cores: column(2.0),
        memory_gib: column(4.0),
        bandwidth_mbps: column(10.0),
        latency_ms: column(50.0),
        samples_per_second: column(100.0),
        last_loss: column(1.0),
        last_round: vec![1; n],
        completed_shares: column(1.0),
    }
}

fn request(round: u64, clients_min: u32, clients_max: u32) -> RoundRequest {
    RoundRequest { round, now_ms: 0, clients_min, clients_max }
}

#[test]
fn the_guides_batches_and_epochs() {
    assert_eq!(batch_size(4.0, 2.0), 32);
    assert_eq!(batch_size(16.0, 64.0), 128, "both factors end at 2");
    assert_eq!(batch_size(2.0, 1.0), 8);
    assert_eq!(batch_size(0.0, 0.0), 8);
    assert_eq!(batch_size(f32::NAN, f32::INFINITY), 32);
    assert_eq!(local_epochs(100.0, 1_000), 5);
    assert_eq!(local_epochs(100.0, 1_000_000), 2, "the data factor ends at 2");
    assert_eq!(local_epochs(100.0, 500), 10);
    assert_eq!(local_epochs(100.0, 0), 20);
    assert_eq!(local_epochs(1e-9, 1_000), 1);
}

#[test]
fn a_share_of_the_best_is_chosen() {
    let mut ten = clients(10);
    ten.cpu_cores[4] = 64.0;
    ten.latency_ms[7] = 1.0;
    ten.samples[2] = 50_000;
    let settings = Settings { exploration_share: 0.0, ..Settings::default() };
    let chosen = select(&settings, &request(1, 1, 100), &ten).unwrap();
    // 0.4 each for the fast one and the near one; the data of the third outweighs neither.
    assert_eq!(chosen.ids.len(), 3);
    let mut first = chosen.ids[..2].to_vec();
    first.sort_unstable();
    assert_eq!(first, [104, 107]);
    assert_eq!(chosen.ids[2], 102);
    assert_eq!(
        chosen.batch_sizes,
        chosen.ids.iter().map(|&id| if id == 104 { 64 } else { 32 }).collect::<Vec<_>>()
    );
    assert_eq!(chosen.local_epochs[2], 2);
}

#[test]
fn the_ends_of_the_host_are_kept() {
    let ten = clients(10);
    let count = |least, most, ratio| {
        let settings = Settings { ratio, ..Settings::default() };
        select(&settings, &request(1, least, most), &ten).map(|chosen| chosen.ids.len())
    };
    assert_eq!(count(1, 100, 0.3), Ok(3));
    assert_eq!(count(5, 100, 0.3), Ok(5));
    assert_eq!(count(1, 2, 1.0), Ok(2));
    assert_eq!(count(1, 100, 0.01), Ok(1));
    assert!(count(11, 100, 0.3).is_err());
    assert!(count(1, 0, 0.3).is_err());
}

#[test]
fn who_has_not_trained_for_longest_is_explored() {
    let mut ten = clients(10);
    ten.cpu_cores = (0..10).map(|i| 1.0 + i as f32).collect();
    ten.last_round = vec![9; 10];
    ten.last_round[0] = 0;
    let settings = Settings { exploration_share: 0.34, ..Settings::default() };
    let chosen = select(&settings, &request(10, 1, 100), &ten).unwrap();
    assert_eq!(chosen.ids, [109, 108, 100]);
}

#[test]
fn of_equals_each_gets_a_turn() {
    let ten = clients(10);
    for policy in [Policy::GuideScore, Policy::Random] {
        let settings = Settings { policy, ..Settings::default() };
        let mut counts = [0; 10];
        for round in 0..1_000 {
            let chosen = select(&settings, &request(round, 1, 100), &ten).unwrap();
            let again = select(&settings, &request(round, 1, 100), &ten).unwrap();
            assert_eq!(chosen, again, "the same question has the same answer");
            chosen.ids.iter().for_each(|&id| counts[id as usize - 100] += 1);
        }
        assert!(counts.iter().all(|count| (230..370).contains(count)), "{counts:?}");
    }
}

#[test]
fn unknown_and_broken_clients() {
    let mut five = clients(5);
    five.samples[1] = 0;
    five.cpu_cores[0] = f32::NAN;
    five.bandwidth_mbps[2] = f32::INFINITY;
    five.latency_ms[3] = 0.0;
    five.memory_gib[4] = -1.0;
    let settings = Settings { ratio: 1.0, ..Settings::default() };
    let chosen = select(&settings, &request(1, 1, 100), &five).unwrap();
    let mut ids = chosen.ids;
    ids.sort_unstable();
    assert_eq!(ids, [100, 102, 103, 104]);
    assert!(scores(&five).iter().all(|score| (0.0..=1.0).contains(score)));
    five.last_loss.pop();
    assert!(select(&settings, &request(1, 1, 100), &five).unwrap_err().contains("length"));
}

#[test]
fn settings_that_are_refused() {
    let check = |json: &str, expected: &str| {
        let message = Settings::parse(json).unwrap_err();
        assert!(message.contains(expected), "{json}: {message}");
    };
    check(r#"{"ratio": 0}"#, "`ratio`");
    check(r#"{"ratio": 1.1}"#, "`ratio`");
    check(r#"{"exploration_share": -0.1}"#, "`exploration_share`");
    check(r#"{"computation_budget": 0}"#, "`computation_budget`");
    check(r#"{"policy": "best"}"#, "unknown variant");
    assert_eq!(Settings::parse(r#"{"policy": "random"}"#).unwrap().policy, Policy::Random);
}
