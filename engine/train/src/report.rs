//! Owns the report of a training: curves, the confusion matrix, figures of classes and a model
//! card, as one page of HTML that loads nothing and runs nothing.
//!
//! Refuses to know where the model went; who asks says so in the card. Every text is escaped.
//! Bound: [`CLASSES_SHOWN`] classes, the points of a curve.

mod chart;

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use self::chart::{Series, chart};
use crate::curve::Curve;
use crate::fit::Outcome;
use crate::spec::TrainSpec;

/// Most classes of tables; of more, those with the most held-out rows.
const CLASSES_SHOWN: usize = 40;
const STYLE: &str = include_str!("report/style.css");

/// What a report shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// What was trained.
    pub title: String,
    /// The model card: names and values.
    pub card: Vec<(String, String)>,
    /// The description, as text.
    pub spec: String,
    /// The classes, of a classifier.
    pub classes: Vec<String>,
    /// Held-out rows by true class, then by predicted class.
    pub confusion: Vec<Vec<u32>>,
    /// The way of the training.
    pub curve: Curve,
}

/// The figures of one class on held-out rows; none where nothing can be divided.
struct ClassFigures {
    class: usize,
    rows: u64,
    precision: Option<f64>,
    recall: Option<f64>,
    f1: Option<f64>,
}

impl Report {
    /// The report of a training, with what it says itself in the card.
    pub fn new(title: &str, spec: &TrainSpec, outcome: &Outcome, curve: Curve) -> Self {
        let mut report = Self {
            title: title.to_owned(),
            spec: serde_json::to_string_pretty(spec).unwrap_or_default(),
            classes: outcome.classes.clone(),
            confusion: outcome.held_out.confusion.clone(),
            curve,
            ..Self::default()
        };
        let accuracy = outcome.held_out.accuracy.map(|share| format!("{:.2} %", share * 100.0));
        report.say("Accuracy on held-out rows", accuracy);
        let error = outcome.held_out.mean_square.map(|error| format!("{error:.6}"));
        report.say("Mean square error on held-out rows", error);
        report.say("Loss of the last epoch", Some(format!("{:.6}", outcome.train_loss)));
        report.say("Steps", Some(outcome.steps.to_string()));
        let (trained, held_out) = outcome.rows;
        let rows = format!("{trained} trained on, {held_out} held out");
        report.say("Rows", Some(rows));
        report.say("Features", Some(outcome.feature_count.to_string()));
        report.say("Seed", Some(spec.seed.to_string()));
        report
    }

    /// Adds a line to the card, if there is something to say.
    pub fn say(&mut self, name: &str, value: Option<String>) {
        self.card.extend(value.map(|value| (name.to_owned(), value)));
    }

    /// The page.
    pub fn page(&self) -> String {
        let title = escaped(&self.title);
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
             <style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        );
        self.card_table(&mut page);
        self.curves(&mut page);
        if !self.confusion.is_empty() {
            let shown = self.classes_shown();
            self.class_table(&mut page, &shown);
            self.confusion_table(&mut page, &shown);
        }
        // Writing to a `String` cannot fail, here and below.
        let _ = writeln!(page, "<h2>Description</h2>\n<pre>{}</pre>", escaped(&self.spec));
        page.push_str("</body>\n</html>\n");
        page
    }

    fn card_table(&self, page: &mut String) {
        page.push_str("<table class=\"card\">\n");
        for (name, value) in &self.card {
            let (name, value) = (escaped(name), escaped(value));
            let _ = writeln!(page, "<tr><th>{name}</th><td>{value}</td></tr>");
        }
        page.push_str("</table>\n");
    }

    fn curves(&self, page: &mut String) {
        let steps = self.curve.steps.points.iter().map(|point| (point.step as f64, point.loss));
        let epochs = &self.curve.epochs.points;
        let held_out = epochs.iter().map(|point| (point.step as f64, point.held_out_loss));
        let losses = [
            Series { name: "training, mean of the epoch so far", points: steps.collect() },
            Series { name: "held-out rows", points: held_out.collect() },
        ];
        page.push_str("<h2>Loss</h2>\n");
        page.push_str(&chart("loss by step", "step", &losses));
        let right =
            epochs.iter().filter_map(|point| Some((point.epoch as f64, point.held_out_accuracy?)));
        let right = Series { name: "held-out rows", points: right.collect() };
        if !right.points.is_empty() {
            page.push_str("<h2>Accuracy</h2>\n");
            page.push_str(&chart("accuracy by epoch", "epoch", &[right]));
        }
    }

    fn name(&self, class: usize) -> String {
        self.classes.get(class).map_or_else(|| class.to_string(), |name| escaped(name))
    }

    fn figures(&self, class: usize) -> ClassFigures {
        let count = |row: &Vec<u32>, at: usize| u64::from(row.get(at).copied().unwrap_or(0));
        let rows: u64 = self.confusion[class].iter().map(|&count| u64::from(count)).sum();
        let right = count(&self.confusion[class], class);
        let predicted: u64 = self.confusion.iter().map(|row| count(row, class)).sum();
        let share = |of: u64| (of > 0).then(|| right as f64 / of as f64);
        let f1 = (rows + predicted > 0).then(|| 2.0 * right as f64 / (rows + predicted) as f64);
        ClassFigures { class, rows, precision: share(predicted), recall: share(rows), f1 }
    }

    /// The classes of tables, in their order.
    fn classes_shown(&self) -> Vec<usize> {
        let mut all: Vec<(u64, usize)> =
            (0..self.confusion.len()).map(|class| (self.figures(class).rows, class)).collect();
        all.sort_by_key(|(rows, class)| (std::cmp::Reverse(*rows), *class));
        let mut shown: Vec<usize> =
            all.into_iter().take(CLASSES_SHOWN).map(|(_, class)| class).collect();
        shown.sort_unstable();
        shown
    }

    fn class_table(&self, page: &mut String, shown: &[usize]) {
        page.push_str(
            "<h2>Classes</h2>\n<table class=\"figures\">\n<tr><th>class</th><th>held-out rows</th>\
             <th>precision</th><th>recall</th><th>F1</th></tr>\n",
        );
        for figures in shown.iter().map(|&class| self.figures(class)) {
            let [precision, recall, f1] = [figures.precision, figures.recall, figures.f1]
                .map(|share| share.map_or_else(|| "–".to_owned(), |share| format!("{share:.3}")));
            let (name, rows) = (self.name(figures.class), figures.rows);
            let _ = writeln!(
                page,
                "<tr><th>{name}</th><td>{rows}</td><td>{precision}</td><td>{recall}</td>\
                 <td>{f1}</td></tr>"
            );
        }
        page.push_str("</table>\n");
        if shown.len() < self.confusion.len() {
            let (shown, all) = (shown.len(), self.confusion.len());
            let _ = writeln!(page, "<p>The {shown} largest of {all} classes are shown.</p>");
        }
    }

    fn confusion_table(&self, page: &mut String, shown: &[usize]) {
        page.push_str(
            "<h2>Confusion matrix</h2>\n<p>Held-out rows; each line a true class, each column what \
             was predicted.</p>\n<table class=\"confusion\">\n<tr><td></td>",
        );
        for &class in shown {
            let _ = write!(page, "<th>{}</th>", self.name(class));
        }
        page.push_str("</tr>\n");
        for &class in shown {
            let rows = self.figures(class).rows.max(1) as f64;
            let _ = write!(page, "<tr><th>{}</th>", self.name(class));
            for &other in shown {
                let count = self.confusion[class].get(other).copied().unwrap_or(0);
                let share = f64::from(count) / rows;
                let kind = match (count, class == other) {
                    (0, _) => "none",
                    (_, true) => "right",
                    (_, false) => "wrong",
                };
                // Small shares must be seen as well.
                let strength = 0.12 + 0.48 * share;
                let style = format!("style=\"--strength:{strength:.2}\"");
                let _ = write!(page, "<td class=\"{kind}\" {style}>{count}</td>");
            }
            page.push_str("</tr>\n");
        }
        page.push_str("</table>\n");
    }
}

/// A text as HTML and its attributes have it.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
