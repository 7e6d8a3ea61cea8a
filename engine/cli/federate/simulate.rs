//! Owns `federate simulate`: federations simulated in this process, their rounds as a table.
//!
//! Refuses to touch a server and its store. Bound: one federation at a time.

use serde_json::{Value, json};
use truststram_federate::simulate::{History, Point, run as simulate};
use truststram_machine::limit_library_threads;

use super::arguments::SimulateArguments;
use crate::cli::{Failure, output, progress};
use crate::federation::schema_of;
use crate::wire::learner::DigitsLearner;

pub(super) fn run(arguments: &SimulateArguments, as_json: bool) -> Result<(), Failure> {
    let conditions = arguments.conditions().map_err(Failure::Usage)?;
    // One thread for each product of matrices, so that the same seed gives the same bits.
    limit_library_threads()?;
    let bar = progress::rounds("simulating", conditions.versions_max);
    let mut tell = |accuracy: f64| {
        bar.inc(1);
        bar.set_message(format!("{accuracy:.4}"));
    };
    let split = (conditions.clients, arguments.split());
    let (rate, seed) = (arguments.client_learning_rate, conditions.seed);
    let mut learner = DigitsLearner::new(split, &arguments.network(), rate, seed, &mut tell)
        .map_err(|error| Failure::Usage(error.into()))?;
    let first = learner.first();
    let (schema, weights) = (schema_of(first)?, first.weights());
    let model_bytes = first.with(&weights)?.to_bytes()?.len() as u64;
    let history = simulate(&conditions, &schema, weights, &mut learner)?;
    bar.finish_and_clear();
    if as_json {
        return output::json(&report(&history, model_bytes));
    }
    let target = conditions.target;
    output::text(&format!("{}\n{}", rounds(&history), summary(&history, model_bytes, target)))
}

fn report(history: &History, model_bytes: u64) -> Value {
    let point = |point: &Point| {
        let Point { version, seconds, accuracy } = *point;
        json!({ "version": version, "seconds": seconds, "accuracy": accuracy })
    };
    json!({
        "rounds": history.points.iter().map(point).collect::<Vec<_>>(),
        "reached": history.reached.as_ref().map(point),
        "accuracy": history.points.last().map(|point| point.accuracy),
        "rounds_without_model": history.kept,
        "updates_accepted": history.accepted,
        "updates_refused": history.refusals,
        "epsilon": history.epsilon,
        "secure": history.secure.map(|cost| json!({
            "bytes_up": cost.bytes_up, "bytes_down": cost.bytes_down,
            "dropped_out": cost.dropped,
        })),
        "ended_because": history.over,
        "bytes_up": history.bytes,
        "bytes_down": history.given * model_bytes,
    })
}

fn rounds(history: &History) -> String {
    let row = |point: &Point| {
        vec![
            point.version.to_string(),
            format!("{:.1}", point.seconds),
            format!("{:.4}", point.accuracy),
        ]
    };
    let rows: Vec<Vec<String>> = history.points.iter().map(row).collect();
    output::table(&["version", "seconds", "accuracy"], &rows)
}

fn summary(history: &History, model_bytes: u64, target: f64) -> String {
    let reached = match &history.reached {
        Some(point) => format!("version {}, {:.1} virtual seconds", point.version, point.seconds),
        None => "not reached".to_owned(),
    };
    let last = history.points.last().map_or("-".to_owned(), |p| format!("{:.4}", p.accuracy));
    let mut rows = vec![
        vec![format!("accuracy of {target}"), reached],
        vec!["last accuracy".to_owned(), last],
        vec!["rounds without a new model".to_owned(), history.kept.to_string()],
        vec!["updates accepted".to_owned(), history.accepted.to_string()],
        vec!["updates refused".to_owned(), history.refused.to_string()],
    ];
    if let Some(cost) = &history.secure {
        let dropped = "dropped out after sharing, masks taken off";
        rows.push(vec![dropped.to_owned(), cost.dropped.to_string()]);
    }
    if let Some(epsilon) = history.epsilon {
        rows.push(vec!["epsilon".to_owned(), format!("{epsilon:.4}")]);
    }
    if let Some(reason) = &history.over {
        rows.push(vec!["ended because".to_owned(), reason.clone()]);
    }
    for (reason, count) in &history.refusals {
        rows.push(vec![format!("  {reason}"), count.to_string()]);
    }
    rows.push(vec!["bytes up, accepted updates".to_owned(), history.bytes.to_string()]);
    let down = history.given * model_bytes;
    rows.push(vec!["bytes down, a model per task".to_owned(), down.to_string()]);
    if let Some(cost) = &history.secure {
        rows.push(vec!["bytes up, keys, shares and answers".to_owned(), cost.bytes_up.to_string()]);
        rows.push(vec!["bytes down, those of the others".to_owned(), cost.bytes_down.to_string()]);
    }
    output::table(&["", ""], &rows).trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use truststram_federate::simulate::SecureCost;

    use super::*;

    #[test]
    fn what_was_refused_is_named() {
        let mut history = History { refused: 3, given: 10, ..History::default() };
        history.refusals.insert("its round is over".to_owned(), 3);
        let text = summary(&history, 1_000, 0.95);
        for part in ["not reached", "last accuracy", "its round is over", " 10000\n"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("masks taken off"), "{text}");
        let cost = SecureCost { bytes_up: 12, bytes_down: 34, dropped: 5 };
        history.secure = Some(cost);
        let text = summary(&history, 1_000, 0.95);
        for part in ["masks taken off  5\n", "shares and answers          12\n"] {
            assert!(text.contains(part), "{text}");
        }
        let report = report(&history, 1_000);
        assert_eq!(report["secure"], json!({ "bytes_up": 12, "bytes_down": 34, "dropped_out": 5 }));
        assert_eq!(report["updates_refused"]["its round is over"], 3);
        assert_eq!(report["reached"], Value::Null);
    }
}
