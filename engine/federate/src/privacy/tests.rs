//! The account against the answers of dp-accounting, the noise against its distribution, the clip
//! against what the paper says of it.

use serde::Deserialize;

use super::accountant::divergence;
use super::*;

#[derive(Deserialize)]
struct Goldens {
    orders: Vec<f64>,
    divergences: Vec<Divergences>,
    epsilons: Vec<Epsilon>,
}

#[derive(Deserialize)]
struct Divergences {
    sampling_rate: f64,
    noise_multiplier: f64,
    rdp: Vec<Option<f64>>,
}

#[derive(Deserialize)]
struct Epsilon {
    parts: Vec<(f64, f64, u64)>,
    delta: f64,
    epsilon: f64,
    order: f64,
}

fn goldens() -> Goldens {
    let text = include_str!("../../../../tests/golden/privacy/dp_accounting.json");
    serde_json::from_str(text).unwrap()
}

#[test]
fn divergences_are_those_of_dp_accounting() {
    let goldens = goldens();
    let mut compared = 0;
    for case in &goldens.divergences {
        let Divergences { sampling_rate, noise_multiplier, ref rdp } = *case;
        let mechanism = Mechanism { sampling_rate, noise_multiplier };
        for (order, expected) in goldens.orders.iter().zip(rdp) {
            let found = divergence(mechanism, *order);
            match expected {
                Some(expected) => {
                    // Where the divergence is all but 0 a difference of logarithms is rounded.
                    let most = 1e-9 * expected + 1e-11;
                    let name = format!("{mechanism:?} {order}: {found} {expected}");
                    assert!((found - expected).abs() <= most, "{name}");
                    compared += 1;
                }
                None => assert!(found.is_infinite(), "{mechanism:?} {order}"),
            }
        }
    }
    assert!(compared > 300, "{compared}");
}

#[test]
fn epsilons_are_those_of_dp_accounting() {
    let mut accountant = Accountant::default();
    for case in goldens().epsilons {
        let uses = case.parts.iter().map(|&(sampling_rate, noise_multiplier, uses)| {
            (Mechanism { sampling_rate, noise_multiplier }, uses)
        });
        let (epsilon, order) = accountant.best(&Spent(uses.collect()), case.delta);
        let most = 1e-9 * case.epsilon.max(1e-3);
        let parts = &case.parts;
        assert!((epsilon - case.epsilon).abs() <= most, "{parts:?}: {epsilon} {}", case.epsilon);
        assert!(epsilon == 0.0 || order == case.order, "{parts:?}: {order} {}", case.order);
    }
}

#[test]
fn what_is_spent_only_grows() {
    let mut accountant = Accountant::default();
    let mechanism = Mechanism { sampling_rate: 0.1, noise_multiplier: 1.0 };
    let mut spent = Spent::default();
    assert_eq!(accountant.epsilon(&spent, 1e-5), 0.0);
    let mut before = 0.0;
    for uses in 1..50 {
        spent = spent.with(mechanism);
        let epsilon = accountant.epsilon(&spent, 1e-5);
        assert!(epsilon > before && spent.rounds() == uses);
        before = epsilon;
    }
    // Many mechanisms are put together, and count for no less.
    for step in 0..1_100 {
        let noise_multiplier = 2.0 + f64::from(step);
        spent = spent.with(Mechanism { sampling_rate: 0.1, noise_multiplier });
    }
    assert!(spent.0.len() <= 1_024 && spent.rounds() == 49 + 1_100);
    assert!(accountant.epsilon(&spent, 1e-5) > before);
}

#[test]
fn noise_is_normal_and_no_key_is_given_twice() {
    let mut chance = Chance::Seeded(7, 0);
    let key = chance.key().unwrap();
    let numbers = |key: &[u8; 32]| -> Vec<f64> {
        let mut gaussian = Gaussian::new(key).unwrap();
        (0..100_000).map(|_| gaussian.next().unwrap()).collect()
    };
    let drawn = numbers(&key);
    assert_eq!(drawn, numbers(&Chance::Seeded(7, 0).key().unwrap()));
    assert_ne!(drawn[..10], numbers(&chance.key().unwrap())[..10]);
    assert_ne!(Chance::System.key().unwrap(), Chance::System.key().unwrap());
    let count = drawn.len() as f64;
    let moment = |power: i32| drawn.iter().map(|value| value.powi(power)).sum::<f64>() / count;
    for (power, expected, deviation) in
        [(1, 0.0, 1.0), (2, 1.0, 1.5), (3, 0.0, 4.0), (4, 3.0, 10.0)]
    {
        let found = moment(power);
        assert!((found - expected).abs() < 4.0 * deviation / count.sqrt(), "{power}: {found}");
    }
    for (limit, share) in [(1.0, 0.682_689), (2.0, 0.954_500), (3.0, 0.997_300)] {
        let within = drawn.iter().filter(|value| value.abs() < limit).count() as f64 / count;
        assert!((within - share).abs() < 0.006, "{limit}: {within}");
    }
    let pairs: f64 = drawn.windows(2).map(|pair| pair[0] * pair[1]).sum();
    assert!((pairs / count).abs() < 0.02);
}

fn settings() -> PrivacySettings {
    serde_json::from_str(
        r#"{"noise_multiplier": 0.5, "clip_norm": 1.0, "clip_quantile": 0.5, "population": 1000}"#,
    )
    .unwrap()
}

#[test]
fn the_clip_finds_the_quantile() {
    let settings = settings();
    settings.check().unwrap();
    let mut gaussian = Gaussian::new(&[5; 32]).unwrap();
    let mut clip = None;
    for _ in 0..100 {
        // Lengths from 0 to 0.1, of which 0.05 is the median.
        let norms: Vec<f64> = (0..1_000).map(|at| f64::from(at) / 10_000.0).collect();
        let (now, deviation) = clip_of_round(&settings, clip);
        // (0.5^-2 - 100^-2)^-0.5 of the clip.
        assert!((deviation / now - 0.500_006).abs() < 1e-6, "{}", deviation / now);
        let noise = gaussian.next().unwrap();
        let bits = norms.iter().map(|norm| clip_bit(*norm, now)).sum();
        clip = next_clip(&settings, now, bits, noise);
    }
    let clip = clip.unwrap();
    assert!((0.04..0.06).contains(&clip), "{clip}");
    let fixed = PrivacySettings { clip_quantile: None, ..settings };
    assert_eq!(clip_of_round(&fixed, None), (1.0, 0.5));
    assert_eq!(next_clip(&fixed, 1.0, 0.0, 0.0), None);
}

#[test]
fn no_update_is_longer_than_the_clip() {
    for norm in [0.0, 0.5, 0.999_999_9, 1.0, 1.000_000_1, 3.7, 1e30] {
        let factor = f64::from(clip_factor(norm, 1.0));
        assert!(norm * factor <= 1.0 && factor <= 1.0, "{norm} {factor}");
        assert!(norm < 1.0 || norm * factor > 0.999_99, "{norm} {factor}");
    }
}

#[test]
fn settings_that_protect_nobody_are_refused() {
    let good = settings();
    for (wrong, expected) in [
        (PrivacySettings { noise_multiplier: 0.0, ..good }, "`noise_multiplier`"),
        (PrivacySettings { noise_multiplier: f64::NAN, ..good }, "`noise_multiplier`"),
        (PrivacySettings { clip_norm: f64::INFINITY, ..good }, "`clip_norm`"),
        (PrivacySettings { clip_quantile: Some(1.0), ..good }, "`clip_quantile`"),
        (PrivacySettings { sampling_rate: 0.0, ..good }, "`sampling_rate`"),
        (PrivacySettings { population: 0, ..good }, "`population`"),
        (PrivacySettings { delta: 1e-3, ..good }, "`delta`"),
        (PrivacySettings { epsilon_max: Some(-1.0), ..good }, "`epsilon_max`"),
        (PrivacySettings { noise_multiplier: 200.0, ..good }, "`count_noise`"),
    ] {
        let error = wrong.check().unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}
