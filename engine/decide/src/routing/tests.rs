//! The routers, by what they pick.

use super::*;

fn table(weights: &[u32], in_flight: &[u32]) -> Table {
    let n = weights.len();
    Table {
        now_ms: 0,
        ids: (10..10 + n as u32).collect(),
        weights: weights.to_vec(),
        in_flight: in_flight.to_vec(),
        capacities: vec![0; n],
        latency_us: vec![0.0; n],
        error_shares: vec![0.0; n],
        cost_per_hour: vec![0.0; n],
        states: vec![HEALTHY; n],
    }
}

fn picks(router: &mut Router, count: usize) -> Vec<u32> {
    (0..count).map(|_| router.pick(1)).collect()
}

fn router(policy: Policy, table: &Table) -> Router {
    let mut router = Router::new(Settings { policy });
    router.observe(table);
    router
}

#[test]
fn the_least_loaded_for_its_weight_is_picked() {
    let mut router = router(Policy::LeastConn, &table(&[1, 2, 1], &[3, 2, 9]));
    // With one more they have 4, 1.5 and 10: the second takes five until it has 4 too.
    assert_eq!(picks(&mut router, 5), [1; 5]);
    let mut next = picks(&mut router, 3);
    next.sort_unstable();
    assert_eq!(next, [0, 1, 1]);
}

#[test]
fn turns_follow_the_weights_and_go_on_with_the_next_table() {
    let weighted = table(&[5, 1, 1], &[0; 3]);
    let mut router = router(Policy::Weighted, &weighted);
    let mut counts = [0; 3];
    for _ in 0..7 {
        router.observe(&weighted);
        counts[router.pick(9) as usize] += 1;
    }
    assert_eq!(counts, [5, 1, 1]);
    // A new one, and one that comes back, get their turn and no more than that.
    let mut four = table(&[1; 4], &[0; 4]);
    router.observe(&four);
    let mut turn = picks(&mut router, 4);
    turn.sort_unstable();
    assert_eq!(turn, [0, 1, 2, 3]);
    four.states[2] = 0;
    router.observe(&four);
    assert!(!picks(&mut router, 30).contains(&2));
    four.states[2] = HEALTHY;
    router.observe(&four);
    let back = picks(&mut router, 8).iter().filter(|&&index| index == 2).count();
    assert!((1..=3).contains(&back), "{back}");
}

#[test]
fn turns_are_carried_over() {
    let weighted = table(&[5, 2, 1, 1], &[0; 4]);
    for policy in [Policy::Weighted, Policy::RoundRobin, Policy::LeastConn] {
        let mut router = router(policy, &weighted);
        picks(&mut router, 6);
        let mut other = Router::new(Settings { policy });
        other.restore(&router.snapshot()).unwrap();
        assert_eq!(other.pick(1), NO_CHOICE, "it knows no table");
        router.observe(&weighted);
        other.observe(&weighted);
        assert_eq!(picks(&mut other, 30), picks(&mut router, 30));
    }
    let mut router = router(Policy::Weighted, &weighted);
    assert!(router.restore(&[0; 13]).unwrap_err().contains("13 bytes"));
    let nan = [&[0; 4][..], &f64::NAN.to_le_bytes()].concat();
    assert!(router.restore(&nan).unwrap_err().contains("no number"));
    router.restore(&[]).unwrap();
}

#[test]
fn round_robin_takes_turns_whatever_the_weights() {
    let mut router = router(Policy::RoundRobin, &table(&[9, 1, 1, 1], &[7, 0, 0, 0]));
    for _ in 0..3 {
        let mut turn = picks(&mut router, 4);
        turn.sort_unstable();
        assert_eq!(turn, [0, 1, 2, 3]);
    }
}

#[test]
fn the_fastest_gets_as_much_more_as_it_is_faster() {
    let mut two = table(&[1, 1], &[0, 0]);
    two.latency_us = vec![1_000.0, 3_000.0];
    let mut router = router(Policy::Latency, &two);
    let slow = picks(&mut router, 400).iter().filter(|&&index| index == 1).count();
    assert!((99..=101).contains(&slow), "{slow}");
    two.error_shares = vec![0.9, 0.0];
    router.observe(&two);
    let failing = picks(&mut router, 1_300).iter().filter(|&&index| index == 0).count();
    assert!((299..=301).contains(&failing), "10,000 against 3,000 us: {failing}");
}

#[test]
fn only_healthy_candidates_with_room_are_picked() {
    let mut four = table(&[1; 4], &[0, 5, 0, 0]);
    four.states = vec![HEALTHY | DRAINING, HEALTHY, 0, HEALTHY];
    four.capacities = vec![0, 5, 0, 8];
    for policy in [Policy::LeastConn, Policy::Weighted, Policy::RoundRobin, Policy::Latency] {
        let mut router = router(policy, &four);
        assert_eq!(picks(&mut router, 3), [3, 3, 3]);
        four.in_flight[3] = 8;
        router.observe(&four);
        assert!([1, 3].contains(&router.pick(1)), "all are full");
        four.in_flight[3] = 0;
        router.observe(&Table { states: vec![0; 4], ..four.clone() });
        assert_eq!(router.pick(1), NO_CHOICE);
        router.observe(&Table { states: Vec::new(), ..four.clone() });
        assert_eq!(router.pick(1), NO_CHOICE, "columns of unequal length");
        assert_eq!(Router::new(Settings { policy }).pick(1), NO_CHOICE);
    }
}
