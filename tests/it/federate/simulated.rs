//! Simulated federations from the command line.

use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::BINARY;

fn simulate(options: &str) -> Output {
    let options = options.split_whitespace();
    Command::new(BINARY).args(["federate", "simulate"]).args(options).output().unwrap()
}

#[test]
fn a_federation_is_lived_again_by_its_seed() {
    let few = "--clients 6 --hidden 16 --rounds 3 --ratio 1 --target 1.1 --attack nan --seed 4";
    let json = format!("{few} --json");
    let (first, again) = (simulate(&json), simulate(&json));
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    assert_eq!(first.stdout, again.stdout);
    let report: Value = serde_json::from_slice(&first.stdout).unwrap();
    let rounds = report["rounds"].as_array().unwrap();
    assert_eq!((rounds.len(), &report["reached"]), (3, &Value::Null));
    assert!(rounds[2]["accuracy"].as_f64() > rounds[0]["accuracy"].as_f64());
    let refused = report["updates_refused"].as_object().unwrap();
    assert!(refused.values().filter_map(Value::as_u64).sum::<u64>() >= 1, "{refused:?}");

    let table = String::from_utf8(simulate(few).stdout).unwrap();
    assert!(table.contains("not reached") && table.contains("bytes down"), "{table}");

    let masked = few.replace("--attack nan", "--secure --drop-out 0.1");
    let (first, again) = (simulate(&masked), simulate(&masked));
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    assert_eq!(first.stdout, again.stdout);
    let table = String::from_utf8(first.stdout).unwrap();
    assert!(table.contains("bytes up, keys, shares and answers"), "{table}");

    // What is beyond the range is cut: models that may hardly move learn little.
    let accuracy = |options: &str| {
        let output = simulate(&format!("{masked} --json {options}"));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        report["accuracy"].as_f64().unwrap()
    };
    assert!(accuracy("--secure-range 1e-4") + 0.2 < accuracy("--secure-range 1"));

    let wrong = simulate("--mode buffered --rule median");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("--mode buffered needs"));
}

#[test]
fn nets_that_are_not_dense_learn_in_a_federation() {
    let report = |options: &str| -> Value {
        let output = simulate(&format!("{options} --clients 8 --ratio 1 --seed 3 --json"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let convolutional = report("--net cnn --hidden 32 --rounds 12 --target 0.93");
    assert!(convolutional["reached"].is_object(), "{convolutional}");
    let logistic = report("--net logistic --rounds 12 --target 0.9 --secure");
    assert!(logistic["reached"].is_object(), "{logistic}");
    let privately = "--noise-multiplier 0.05 --clip-norm 1 --clip-quantile 0.5 --encoding int8";
    let convolutional = report(&format!("--net cnn --hidden 16 --rounds 4 {privately}"));
    assert!(convolutional["epsilon"].as_f64() > Some(0.0), "{convolutional}");
}
