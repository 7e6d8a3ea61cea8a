//! Owns the hill climbing on the engine's own settings: largest batch, waits, workers, queues.
//!
//! Refuses to know what a setting does: it changes one number at a time, keeps the direction while
//! that pays, and turns with half the step when it does not. Bound: linear in the settings and in
//! the metrics of `windows_min` windows.

use std::collections::BTreeMap;

use super::state::{Pending, Tried};
use super::{
    Applies, Change, Observation, Parameter, Policy, Proposal, Scope, Settings, State, Value, step,
};

/// Proposes a step of the setting that was tried longest ago and does not rest.
pub(super) fn propose(
    settings: &Settings,
    state: &mut State,
    parameters: &BTreeMap<&str, &Parameter>,
    history: &[Observation],
) -> Option<Proposal> {
    let spread = spread(settings, history)?;
    state.begin_round();
    let turns = parameters.values().filter_map(|parameter| next(settings, state, parameter));
    // Of equals the first is taken, and the settings come by name.
    let turn = turns.min_by_key(|turn| turn.tried)?;

    let windows = f64::from(settings.windows_min);
    // The error of a difference of two means.
    let noise = spread * (2.0 / windows).sqrt();
    let tried = Tried { name: turn.name.to_owned(), is_downward: turn.is_downward, is_final: true };
    state.expect(Pending {
        policy: Policy::GuideRuntime,
        now_ms: history.last().map(|observation| observation.now_ms),
        noise_ppm: (noise * 1e6).floor() as u32,
        rest_rounds: settings.rest_rounds,
        changes: vec![tried],
    });
    let reason = format!(
        "hill climbing: {} from {} to {}; {} windows scatter by {:.2} %",
        turn.name,
        shown(turn.from),
        shown(&turn.to),
        settings.windows_min,
        spread * 100.0,
    );
    Some(Proposal {
        changes: vec![Change { parameter: turn.name.to_owned(), to: turn.to }],
        expected_gain: f64::from(turn.gain_ppm) / 1e6,
        loss_max: spread.min(settings.loss_max),
        trial_ms: settings.trial_ms,
        reason,
    })
}

/// A step that a setting would take.
struct Turn<'a> {
    name: &'a str,
    from: &'a Value,
    to: Value,
    is_downward: bool,
    /// The round of its latest trial.
    tried: u64,
    gain_ppm: u32,
}

fn next<'a>(settings: &Settings, state: &State, parameter: &'a Parameter) -> Option<Turn<'a>> {
    if parameter.scope != Scope::Runtime || parameter.applies != Applies::AtOnce {
        return None;
    }
    let lesson = state.awake(&parameter.name)?;
    let share = lesson.step_share(settings.step_share);
    // At the end of its domain a setting can only turn round.
    [lesson.is_downward, !lesson.is_downward].into_iter().find_map(|is_downward| {
        Some(Turn {
            name: &parameter.name,
            from: &parameter.current,
            to: step::by_share(parameter, share, is_downward)?.to,
            is_downward,
            tried: lesson.tried,
            gain_ppm: lesson.gain_ppm,
        })
    })
}

/// How much the objective scatters over the latest windows without a trial: its standard deviation
/// over its mean. `None` if there are too few of them since a trial ran, if one of them has too few
/// values, or if the objective scatters too much or is not a number.
fn spread(settings: &Settings, history: &[Observation]) -> Option<f64> {
    let wanted = settings.windows_min as usize;
    let latest = history.iter().rev().take_while(|observation| observation.trial.is_none());
    let latest: Vec<&Observation> = latest.take(wanted).collect();
    let is_full = |observation: &&Observation| {
        let counts = observation.metrics.iter().map(|metric| metric.count);
        counts.max().unwrap_or(0) >= settings.count_min
    };
    if latest.len() < wanted || wanted < 2 || !latest.iter().all(is_full) {
        return None;
    }
    let windows = latest.len() as f64;
    let mean = latest.iter().map(|observation| observation.objective).sum::<f64>() / windows;
    let squares = latest.iter().map(|observation| {
        let distance = observation.objective - mean;
        distance * distance
    });
    let spread = (squares.sum::<f64>() / (windows - 1.0)).sqrt() / mean.abs();
    // What is not a number is refused here too.
    (spread <= settings.spread_max).then_some(spread)
}

fn shown(value: &Value) -> String {
    match value {
        Value::Integer(number) => number.to_string(),
        // A number of many digits would push the rest out of the line.
        Value::Decimal(number) => format!("{number:.6e}"),
        Value::Flag(flag) => flag.to_string(),
        Value::Text(word) => word.clone(),
    }
}
