//! Rounds of virtual clients: sums come out right whoever drops out, and nobody is told too much.

use std::collections::BTreeMap;

use super::*;
use crate::privacy::Chance;
use crate::random::Random;

const PARAMETERS: usize = 20_000;

struct Party {
    roster: Roster,
    clients: BTreeMap<u32, SecureClient>,
    inputs: BTreeMap<u32, Vec<f32>>,
    quantiser: Quantiser,
    masked: BTreeMap<u32, Vec<u32>>,
    survivors: Survivors,
}

/// Clients 10, 20, ... up to their inputs; who is in `silent` sends no shares, who is in `lost` no
/// input.
fn party(count: u32, threshold: usize, silent: &[u32], lost: &[u32]) -> Party {
    let mut random = Random::new(u64::from(count), 0);
    let made = (1..=count).map(|index| {
        let chance = Chance::Seeded(u64::from(index), 0);
        (10 * index, SecureClient::new(10 * index, chance).unwrap())
    });
    let mut clients: BTreeMap<u32, SecureClient> = made.collect();
    let members = clients.iter().map(|(id, client)| (*id, client.keys())).collect();
    let roster = Roster { round: 3, threshold, members };
    let mut sealed: BTreeMap<u32, SealedShares> = BTreeMap::new();
    for (id, client) in clients.iter_mut().filter(|(id, _)| !silent.contains(id)) {
        let shares = client.share(roster.clone()).unwrap();
        check_sealed(&shares, *id, &roster).unwrap();
        sealed.insert(*id, shares);
    }
    let quantiser = Quantiser::new(1.0, sealed.len());
    let (mut inputs, mut masked) = (BTreeMap::new(), BTreeMap::new());
    for (id, client) in &mut clients {
        if silent.contains(id) || lost.contains(id) {
            continue;
        }
        let input = random.numbers(PARAMETERS);
        let mut values = quantiser.whole(&input).unwrap();
        client.mask(&addressed(&sealed, *id), &mut values).unwrap();
        inputs.insert(*id, input);
        masked.insert(*id, values);
    }
    let alive = masked.keys().copied().collect();
    let dropped = sealed.keys().filter(|id| lost.contains(id)).copied().collect();
    let survivors = Survivors { alive, dropped };
    Party { roster, clients, inputs, quantiser, masked, survivors }
}

/// The shares for one client, by sender.
fn addressed(sealed: &BTreeMap<u32, SealedShares>, to: u32) -> SealedShares {
    sealed.iter().filter_map(|(from, shares)| Some((*from, shares.get(&to)?.clone()))).collect()
}

impl Party {
    fn sum(&self) -> Vec<u32> {
        let mut sum = vec![0_u32; PARAMETERS];
        for values in self.masked.values() {
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum = sum.wrapping_add(*value));
        }
        sum
    }

    fn answers(&mut self, silent: &[u32]) -> BTreeMap<u32, Answers> {
        let alive: Vec<u32> = self.survivors.alive.iter().copied().collect();
        let answering = alive.into_iter().filter(|id| !silent.contains(id));
        let answer = |id: u32| {
            let answers = self.clients.get_mut(&id).unwrap().reveal(&self.survivors).unwrap();
            answers.check(&self.survivors).unwrap();
            (id, answers)
        };
        answering.map(answer).collect()
    }

    fn check(&mut self, silent: &[u32]) {
        let answers = self.answers(silent);
        let mut sum = self.sum();
        unmask(&mut sum, &self.roster, &self.survivors, &answers).unwrap();
        let step = 1.0 / (f64::from(i32::MAX) / self.inputs.len() as f64);
        for at in 0..PARAMETERS {
            let expected: f64 = self.inputs.values().map(|input| f64::from(input[at])).sum();
            let found = f64::from(self.quantiser.real(sum[at]));
            let most = 2.0 * self.inputs.len() as f64 * step + 1e-6;
            assert!((found - expected).abs() < most, "{at}: {found} {expected}");
        }
    }
}

#[test]
fn sums_come_out_right_whoever_drops_out() {
    party(2, 2, &[], &[]).check(&[]);
    party(5, 3, &[], &[]).check(&[]);
    party(5, 3, &[20], &[]).check(&[]);
    party(5, 3, &[], &[30]).check(&[]);
    party(6, 4, &[10], &[60]).check(&[]);
    // Two drop out before their inputs, another one after it.
    party(9, 5, &[10], &[20, 90]).check(&[50]);
}

#[test]
fn an_input_looks_like_noise() {
    let party = party(3, 2, &[], &[]);
    for (id, values) in &party.masked {
        let whole = party.quantiser.whole(&party.inputs[id]).unwrap();
        assert!(values.iter().zip(&whole).filter(|(a, b)| a == b).count() < 3);
        let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / PARAMETERS as f64;
        let middle = f64::from(u32::MAX) / 2.0;
        assert!((mean / middle - 1.0).abs() < 0.02, "{mean}");
        let ones: u32 = values.iter().map(|value| value.count_ones()).sum();
        let share = f64::from(ones) / (32.0 * PARAMETERS as f64);
        assert!((share - 0.5).abs() < 0.005, "{share}");
    }
    // Neither the seeds alone nor a sum of some gives anything: all inputs and all seeds do.
    let mut some = party.masked[&10].clone();
    some.iter_mut().zip(&party.masked[&20]).for_each(|(a, b)| *a = a.wrapping_add(*b));
    let reals: Vec<f64> =
        some.iter().map(|sum| f64::from(party.quantiser.real(*sum)).abs()).collect();
    let mean = reals.iter().sum::<f64>() / PARAMETERS as f64;
    // Uniform over the ring: a quarter of it on average, however small the inputs are.
    assert!((mean / 1.5 - 1.0).abs() < 0.05, "{mean}");
}

#[test]
fn too_few_answers_open_nothing() {
    let mut party = party(5, 4, &[], &[]);
    let answers = party.answers(&[10, 20]);
    let mut sum = party.sum();
    let error = unmask(&mut sum, &party.roster, &party.survivors, &answers).unwrap_err();
    assert!(error.to_string().contains("answers is 3, expected 4"), "{error}");
}

#[test]
fn nobody_tells_both_secrets_of_a_client() {
    let mut party = party(5, 3, &[], &[50]);
    let client = party.clients.get_mut(&10).unwrap();
    let first = party.survivors.clone();
    let told = client.reveal(&first).unwrap();
    assert!(told.seeds.keys().all(|of| !told.mask_keys.contains_key(of)));
    assert_eq!(client.reveal(&first).unwrap(), told, "an answer that was lost is given again");
    let refused = |client: &mut SecureClient, change: &dyn Fn(&mut Survivors), expected: &str| {
        let mut other = first.clone();
        change(&mut other);
        let error = client.reveal(&other).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    // The seed of 20 is told; now the server would have its mask key as well.
    let turns = |list: &mut Survivors| {
        list.alive.remove(&20);
        list.dropped.insert(20);
    };
    refused(client, &turns, "two would tell too much");
    let client = party.clients.get_mut(&20).unwrap();
    refused(client, &turns, "this client");
    let client = party.clients.get_mut(&30).unwrap();
    refused(
        client,
        &|list| {
            list.dropped.insert(20);
        },
        "each once",
    );
    refused(client, &|list| list.dropped.clear(), "each once");
    refused(
        client,
        &|list| {
            list.alive.insert(70);
        },
        "each once",
    );
    let few = |list: &mut Survivors| {
        for gone in [10, 20] {
            list.alive.remove(&gone);
            list.dropped.insert(gone);
        }
    };
    refused(client, &few, "as many as the threshold");
    // The server takes no answer with both either.
    let mut both = told.clone();
    both.mask_keys.insert(20, "00".repeat(32));
    assert!(both.check(&first).is_err());
    let mut other = told;
    other.seeds.remove(&20);
    assert!(other.check(&first).is_err());
}

#[test]
fn a_client_goes_one_way_and_believes_nothing_twice() {
    let mut party = party(3, 2, &[30], &[10, 20]);
    let roster = party.roster.clone();
    let client = party.clients.get_mut(&10).unwrap();
    assert!(client.reveal(&Survivors::default()).is_err(), "its input comes first");
    assert!(client.share(roster.clone()).is_err(), "a second roster");
    let other = party.clients.get_mut(&30).unwrap();
    assert!(other.mask(&SealedShares::new(), &mut [0]).is_err(), "the roster comes first");
    let check = |client: &mut SecureClient, change: &dyn Fn(&mut Roster)| {
        let mut other = roster.clone();
        change(&mut other);
        client.share(other).unwrap_err();
    };
    check(other, &|roster| roster.threshold = 1);
    check(other, &|roster| roster.threshold = 4);
    check(other, &|roster| {
        roster.members.remove(&30);
    });
    check(other, &|roster| {
        roster.members.insert(30, roster.members[&10]);
    });
    check(other, &|roster| {
        roster.members.insert(40, roster.members[&10]);
    });
    let shares = other.share(roster.clone()).unwrap();
    // What comes from another sender, or was changed, is not opened.
    let client = party.clients.get_mut(&10).unwrap();
    let mut values = vec![0; 4];
    let changed = format!("{}00", &shares[&10][..158]);
    assert!(client.mask(&BTreeMap::from([(30, changed)]), &mut values).is_err());
    assert!(client.mask(&BTreeMap::from([(20, shares[&10].clone())]), &mut values).is_err());
    assert!(client.mask(&BTreeMap::from([(40, shares[&10].clone())]), &mut values).is_err());
    assert!(client.mask(&SealedShares::new(), &mut values).is_err(), "too few");
    client.mask(&BTreeMap::from([(30, shares[&10].clone())]), &mut values).unwrap();
    assert!(client.mask(&BTreeMap::from([(30, shares[&10].clone())]), &mut values).is_err());
}

#[test]
fn wrong_shares_are_found_out() {
    let mut party = party(4, 3, &[], &[40]);
    for is_seed in [true, false] {
        let mut answers = party.answers(&[]);
        let first = answers.get_mut(&10).unwrap();
        let shares = if is_seed { &mut first.seeds } else { &mut first.mask_keys };
        for share in shares.values_mut() {
            *share = "11".repeat(32);
        }
        let mut sum = party.sum();
        let error = unmask(&mut sum, &party.roster, &party.survivors, &answers).unwrap_err();
        assert!(error.to_string().contains("those of another"), "{error}");
    }
}

#[test]
fn whole_numbers_are_no_longer_than_the_real_ones() {
    for clients in [1, 2, 100, 255] {
        let quantiser = Quantiser::new(0.5, clients);
        let values = [0.0, 0.1, -0.1, 0.5, -0.5, 7.0, -1e30, 1e-12];
        let whole = quantiser.whole(&values).unwrap();
        for (value, whole) in values.iter().zip(&whole) {
            let back = quantiser.real(*whole);
            assert!(back.abs() <= value.abs().min(0.5), "{value} {back}");
            assert!((back - value.clamp(-0.5, 0.5)).abs() < 2e-7, "{value} {back}");
            // All clients with the largest value stay within the ring.
            let sum = (0..clients).fold(0_u32, |sum, _| sum.wrapping_add(*whole));
            let expected = f64::from(back) * clients as f64;
            assert!((f64::from(quantiser.real(sum)) - expected).abs() < 1e-3, "{value}");
        }
        assert!(quantiser.whole(&[0.0, f32::NAN]).is_err());
    }
}
