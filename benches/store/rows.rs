//! Owns the rows of the comparison: every number and seed names one row, the same for every store.
//!
//! A row is the answer to one of the bundled digits, of one of 20 models, for one of 100,000 users;
//! the n-th most frequent user asks about 1/n as often as the first.
//! Refuses to know stores. Bound: the digits in memory, nothing per row.

use std::fs;
use std::io::{BufWriter, Write};

use truststram_base::{ModelId, ModelVersion, PredictionRecord, RequestId, UserId};

use crate::Outcome;
use crate::arguments::Arguments;

/// How many models answer.
pub const MODEL_COUNT: u64 = 20;
/// How many users ask.
pub const USER_COUNT: u64 = 100_000;

const FEATURE_COUNT: usize = 64;
const US_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// 1970-01-01 as PostgreSQL counts Julian days.
const EPOCH_JULIAN_DAY: i64 = 2_440_588;

/// One of the bundled digits.
struct Digit {
    features: Vec<f32>,
    /// The features as a JSON array.
    json: String,
    class: u32,
}

/// The part of a row that depends on its number.
pub struct Row {
    request: u128,
    /// Counted from 1, as the user.
    model: u64,
    user: u64,
    digit: usize,
    confidence: f32,
}

/// Where rows come from.
pub struct Workload {
    seed: u64,
    digits: Vec<Digit>,
    models: Vec<ModelId>,
    users: Vec<UserId>,
}

/// When the rows of a load were made: evenly spaced.
pub struct Times {
    base_us: i64,
    interval_us: i64,
}

impl Times {
    /// Reads `--base-us` and `--interval-us`.
    ///
    /// # Errors
    /// If one is no number.
    pub fn of(arguments: &Arguments) -> Outcome<Self> {
        Ok(Self {
            base_us: arguments.number_or("base-us", 1_794_700_800_000_000)?,
            interval_us: arguments.number_or("interval-us", 150_000)?,
        })
    }

    /// When row `number` was made, microseconds UTC.
    pub fn at(&self, number: u64) -> i64 {
        self.base_us + self.interval_us * number as i64
    }
}

impl Workload {
    /// Reads `--digits` and `--seed`.
    ///
    /// # Errors
    /// If the file is not there or is not what it should be.
    pub fn of(arguments: &Arguments) -> Outcome<Self> {
        let path = arguments.path("digits")?;
        let text = fs::read_to_string(path)
            .map_err(|error| format!("cannot read --digits {}: {error}", path.display()))?;
        let digits: Vec<Digit> = text.lines().map(parse_digit).collect::<Outcome<_>>()?;
        if digits.is_empty() {
            return Err(format!("{} has no rows", path.display()).into());
        }
        let models = (1..=MODEL_COUNT).map(|model| ModelId::new(&format!("model-{model}")));
        let users = (1..=USER_COUNT).map(|user| UserId::new(&format!("user-{user}")));
        Ok(Self {
            seed: arguments.number_or("seed", 1)?,
            digits,
            models: models.collect::<Result<_, _>>()?,
            users: users.collect::<Result<_, _>>()?,
        })
    }

    /// The models, in the order of their numbers.
    pub fn models(&self) -> &[ModelId] {
        &self.models
    }

    /// The row of that number.
    pub fn row(&self, number: u64) -> Row {
        let draw = |purpose: u64| mix(mix(self.seed ^ purpose << 56) ^ number);
        let user_share = draw(2) as f64 / u64::MAX as f64;
        let user = ((USER_COUNT + 1) as f64).powf(user_share) as u64;
        Row {
            request: u128::from(draw(4)) << 64 | u128::from(draw(5)),
            model: draw(1) % MODEL_COUNT + 1,
            user: user.clamp(1, USER_COUNT),
            digit: (draw(3) % self.digits.len() as u64) as usize,
            confidence: 0.5 + (draw(6) % 500_000) as f32 / 1e6,
        }
    }

    /// A row as the store takes it.
    pub fn record(&self, row: &Row, timestamp_us: i64) -> PredictionRecord {
        let digit = &self.digits[row.digit];
        PredictionRecord {
            request: RequestId(row.request),
            model: self.models[row.model as usize - 1].clone(),
            version: ModelVersion(1),
            user: Some(self.users[row.user as usize - 1].clone()),
            timestamp_us,
            features: digit.features.clone(),
            class: digit.class,
            confidence: row.confidence,
        }
    }

    /// A row as a line of `COPY`: request, model, user, time, features, class, confidence.
    fn line(&self, row: &Row, time: &str, output: &mut impl Write) -> std::io::Result<()> {
        let Row { request, model, user, confidence, .. } = row;
        let Digit { json, class, .. } = &self.digits[row.digit];
        writeln!(output, "{request:032x}\t{model}\t{user}\t{time}\t{json}\t{class}\t{confidence}")
    }
}

/// Prints `--rows` rows from `--from` on: for `COPY` with times that PostgreSQL reads, for SQLite
/// with microseconds.
///
/// # Errors
/// If the format is unknown or the reader goes away.
pub fn print(arguments: &Arguments) -> Outcome {
    let workload = Workload::of(arguments)?;
    let times = Times::of(arguments)?;
    let first: u64 = arguments.number_or("from", 0)?;
    let count: u64 = arguments.number("rows")?;
    let time_text = match arguments.text("format")? {
        "copy" => julian_time,
        "sqlite" => |timestamp_us: i64| timestamp_us.to_string(),
        other => return Err(format!("--format: {other:?} is neither copy nor sqlite").into()),
    };
    let mut output = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    for number in first..first + count {
        workload.line(&workload.row(number), &time_text(times.at(number)), &mut output)?;
    }
    Ok(output.flush()?)
}

/// A time as PostgreSQL reads it, by its Julian day, so that no calendar is needed here.
fn julian_time(timestamp_us: i64) -> String {
    let (seconds, us) =
        (timestamp_us.div_euclid(US_PER_SECOND), timestamp_us.rem_euclid(US_PER_SECOND));
    let (day, second) = (seconds.div_euclid(SECONDS_PER_DAY), seconds.rem_euclid(SECONDS_PER_DAY));
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("J{} {hour:02}:{minute:02}:{second:02}.{us:06}+00", EPOCH_JULIAN_DAY + day)
}

fn parse_digit(line: &str) -> Outcome<Digit> {
    let values: Vec<u32> = line.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let Some((&class, pixels)) = values.split_last().filter(|_| values.len() == FEATURE_COUNT + 1)
    else {
        return Err(format!("expected 65 numbers in a row of the digits, found {line:?}").into());
    };
    let texts: Vec<String> = pixels.iter().map(u32::to_string).collect();
    let features = pixels.iter().map(|&pixel| pixel as f32).collect();
    Ok(Digit { features, json: format!("[{}]", texts.join(",")), class })
}

/// Spreads the bits of a number; the finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
pub fn mix(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}
