//! Owns the options of `federate simulate` and what they mean together.
//!
//! Refuses pairs that no policy has. Bound: 1,000 clients, 10,000 versions.

use anyhow::anyhow;
use clap::ValueEnum;
use serde_json::{Map, Value, json};
use truststram_decide::{aggregation, selection};
use truststram_federate::codec::Encoding;
use truststram_federate::privacy::PrivacySettings;
use truststram_federate::round::{Mode, NativePolicy, RoundSettings};
use truststram_federate::secure::{CLIENTS_MAX, SecureSettings};
use truststram_federate::simulate::{Attack, Conditions, Split};
use truststram_train::{LayerActivation, LayerSpec, NetSpec};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct SimulateArguments {
    /// How many clients there are.
    #[arg(long, default_value_t = 20)]
    clients: usize,
    /// How the rows are divided among them.
    #[arg(long, value_enum, default_value_t = Division::Iid)]
    split: Division,
    /// With `--split dirichlet`, the concentration; the smaller the more unlike are the clients.
    #[arg(long, value_name = "NUMBER", default_value_t = 0.5)]
    concentration: f64,
    /// How updates become one.
    #[arg(long, value_enum, default_value_t = Rule::Fedavg)]
    rule: Rule,
    /// How the server applies that one; others than sgd go with `--rule fedavg --mode sync` alone.
    #[arg(long, value_enum, default_value_t = Optimiser::Sgd)]
    server_optimiser: Optimiser,
    /// The server's step size; by default 0.01 for adam and yogi, 1 for the others.
    #[arg(long, value_name = "RATE")]
    server_learning_rate: Option<f32>,
    /// Updates longer than this are shortened to it; 0 leaves them.
    #[arg(long, value_name = "LENGTH", default_value_t = 0.0)]
    clip_norm: f32,
    /// Keep the privacy of clients: noise of so many times `--clip-norm` on the sum of updates,
    /// clients drawn by chance at `--ratio`, all counted the same.
    #[arg(long, value_name = "FACTOR", default_value_t = 0.0)]
    noise_multiplier: f64,
    /// With `--noise-multiplier`, the clip adapts so that this share of the updates is shorter.
    #[arg(long, value_name = "SHARE")]
    clip_quantile: Option<f64>,
    /// With `--noise-multiplier`, the epsilon at which it ends.
    #[arg(long, value_name = "EPSILON")]
    epsilon_max: Option<f64>,
    /// With `--noise-multiplier`, the delta at which epsilon is told.
    #[arg(long, value_name = "DELTA", default_value_t = 1e-5)]
    delta: f64,
    /// Sum masked updates: the server learns nothing of each, and all count the same. Who drops out
    /// does so while it trains, after its secrets were shared.
    #[arg(long)]
    secure: bool,
    /// With `--secure`, the largest value of an update; what is beyond is cut to it.
    #[arg(long, value_name = "VALUE", default_value_t = SecureSettings::default().range)]
    secure_range: f32,
    /// Wait for the clients of a round, or take updates as they come (with `--rule fedavg`).
    #[arg(long, value_enum, default_value_t = Timing::Sync)]
    mode: Timing,
    /// With `--mode buffered`, updates of one version.
    #[arg(long, default_value_t = 5)]
    buffer: u32,
    /// With `--mode buffered`, clients that train at a time; all of them if absent.
    #[arg(long, value_name = "COUNT")]
    at_work: Option<usize>,
    /// How updates are written: f32, f16, bf16 or int8, alone or as top-0.01-int8.
    #[arg(long, default_value = "f32")]
    encoding: String,
    /// What hostile clients send.
    #[arg(long, value_enum, default_value_t = Hostility::None)]
    attack: Hostility,
    /// The share of hostile clients. The rules that defend are told of a tenth more.
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    attackers: f64,
    /// How many times its length a hostile update has, with `sign-flip` and `noise`.
    #[arg(long, value_name = "FACTOR", default_value_t = 10.0)]
    attack_strength: f32,
    /// The share of clients that train in a round.
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    ratio: f64,
    /// The usual time of a task, virtual seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    task_s: f64,
    /// How much longer some take: a task's time is multiplied by 1 and this times the half of a
    /// normal distribution.
    #[arg(long, value_name = "FACTOR", default_value_t = 0.5)]
    stragglers: f64,
    /// The share of tasks of which nothing is heard again.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    drop_out: f64,
    /// What is trained.
    #[arg(long, value_enum, default_value_t = Network::Dense)]
    net: Network,
    /// Neurons of each hidden layer, of `cnn` behind its convolutions.
    #[arg(long, value_delimiter = ',', default_value = "128,64")]
    hidden: Vec<usize>,
    /// The clients' step size.
    #[arg(long, value_name = "RATE", default_value_t = 0.05)]
    pub(super) client_learning_rate: f64,
    /// The most versions of the model.
    #[arg(long, default_value_t = 100)]
    rounds: u64,
    /// The accuracy on held-out rows at which it ends; above 1 it never does.
    #[arg(long, value_name = "ACCURACY", default_value_t = 0.95)]
    target: f64,
    /// Of all that is drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Division {
    /// At random.
    Iid,
    /// Sorted by class and cut: each client has two pieces.
    Shards,
    /// Of each class shares that are drawn.
    Dirichlet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Rule {
    /// The mean, weighted by examples.
    Fedavg,
    /// The median of each weight.
    Median,
    /// The mean of each weight without its extremes.
    TrimmedMean,
    /// The mean of the updates with the nearest neighbours.
    MultiKrum,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Optimiser {
    /// Adds it.
    Sgd,
    /// With momentum (FedAvgM).
    Momentum,
    /// FedAdam.
    Adam,
    /// FedYogi.
    Yogi,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Network {
    /// Dense layers.
    Dense,
    /// Two convolutions of 3 x 3, 8 and 16 kernels, each with a pool of 2 x 2, and dense layers.
    Cnn,
    /// No hidden layer: logistic regression.
    Logistic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Timing {
    /// Rounds.
    Sync,
    /// FedBuff: a new model of every few updates.
    Buffered,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Hostility {
    /// All are honest.
    None,
    /// The change with the sign turned.
    SignFlip,
    /// Noise.
    Noise,
    /// What is learnt from wrong labels.
    LabelFlip,
    /// A value that is no number.
    Nan,
}

impl SimulateArguments {
    pub(super) fn split(&self) -> Split {
        match self.split {
            Division::Iid => Split::Iid,
            Division::Shards => Split::Shards(2),
            Division::Dirichlet => Split::Dirichlet(self.concentration),
        }
    }

    /// What is trained.
    pub(super) fn network(&self) -> NetSpec {
        let (activation, kernel, padding) = (LayerActivation::Relu, 3, 1);
        let blocks = [8, 16].into_iter().flat_map(|channels| {
            let conv = LayerSpec::Conv { channels, kernel, padding, activation };
            [conv, LayerSpec::MaxPool { size: 2 }]
        });
        let dense = NetSpec::dense(&self.hidden);
        match self.net {
            Network::Dense => dense,
            Network::Cnn => NetSpec {
                image: Some([8, 8, 1]),
                layers: blocks.chain(dense.layers).collect(),
                ..NetSpec::default()
            },
            Network::Logistic => NetSpec::default(),
        }
    }

    /// What the options say together.
    pub(super) fn conditions(&self) -> anyhow::Result<Conditions> {
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let above_zero = |value: f64| value > 0.0 && value.is_finite();
        let rules = [
            ((2..=1_000).contains(&self.clients), "--clients must be from 2 to 1000"),
            ((1..=10_000).contains(&self.rounds), "--rounds must be from 1 to 10000"),
            (share(self.attackers), "--attackers must be from 0 to 1"),
            (share(self.drop_out), "--drop-out must be from 0 to 1"),
            (self.ratio > 0.0 && self.ratio <= 1.0, "--ratio must be above 0 and at most 1"),
            (above_zero(self.concentration), "--concentration must be above 0"),
            (above_zero(f64::from(self.attack_strength)), "--attack-strength must be above 0"),
            (above_zero(self.client_learning_rate), "--client-learning-rate must be above 0"),
            (
                self.task_s > 0.0 && self.task_s <= 3_600.0,
                "--task-s must be above 0 and at most 3600",
            ),
            ((0.0..=100.0).contains(&self.stragglers), "--stragglers must be from 0 to 100"),
            (self.target > 0.0, "--target must be above 0"),
        ];
        if let Some((_, message)) = rules.iter().find(|(holds, _)| !holds) {
            return Err(anyhow!(*message));
        }
        let encoding: Encoding = self.encoding.parse()?;
        self.check_secure(encoding)?;
        let mode = match self.mode {
            Timing::Sync => Mode::Sync,
            Timing::Buffered => Mode::Buffered,
        };
        // A round waits for the slow, not for the lost.
        let deadline_s = (self.task_s * (1.0 + 4.0 * self.stragglers)).ceil().clamp(1.0, 86_400.0);
        let at_work = self.at_work.unwrap_or(self.clients).max(1);
        let selection = selection::Settings {
            policy: selection::Policy::Random,
            ratio: self.ratio,
            seed: self.seed,
            ..selection::Settings::default()
        };
        let privacy = self.privacy()?;
        // Where all count the same, all who are drawn are waited for.
        let over_selection = privacy.map_or(RoundSettings::default().over_selection, |_| 1.0);
        let range = self.secure_range;
        let secure = self.secure.then(|| SecureSettings { range, ..SecureSettings::default() });
        let clients_max = secure.map_or(1_000.0, |_| CLIENTS_MAX as f64 / over_selection);
        let rounds = RoundSettings {
            mode,
            deadline_s: deadline_s as u32,
            clients_max: clients_max as u32,
            over_selection,
            privacy,
            secure,
            ..RoundSettings::default()
        };
        let policy = NativePolicy { aggregation: self.aggregation()?, selection };
        let checked = rounds.check().and_then(|()| rounds.check_policy(&policy));
        checked.map_err(|error| anyhow!(error))?;
        Ok(Conditions {
            clients: self.clients,
            rounds,
            policy,
            encoding,
            train_s: self.task_s,
            straggling: self.stragglers,
            drop_out: self.drop_out,
            attack: self.attack(),
            hostile_share: self.attackers,
            at_work,
            target: self.target,
            versions_max: self.rounds,
            seed: self.seed,
        })
    }

    /// What hostile clients do.
    fn attack(&self) -> Option<Attack> {
        match self.attack {
            Hostility::None => None,
            Hostility::SignFlip => Some(Attack::SignFlip(self.attack_strength)),
            Hostility::Noise => Some(Attack::Noise(self.attack_strength)),
            Hostility::LabelFlip => Some(Attack::LabelFlip),
            Hostility::Nan => Some(Attack::NotANumber),
        }
    }

    /// That nothing is asked for beside `--secure` that it cannot do.
    fn check_secure(&self, encoding: Encoding) -> anyhow::Result<()> {
        // Under privacy each client may be drawn in each round.
        let share = if self.noise_multiplier == 0.0 { self.ratio } else { 1.0 };
        let most = "takes at most 255 clients in a round, the shares of a secret: fewer --clients, \
                    or without --noise-multiplier a lower --ratio";
        let rules = [
            (
                encoding == Encoding::DENSE,
                "does not go with --encoding: a masked update has a whole number for each value",
            ),
            (
                !matches!(self.attack, Hostility::Nan),
                "does not go with --attack nan: whole numbers are all numbers",
            ),
            (share * self.clients as f64 <= CLIENTS_MAX as f64, most),
        ];
        match rules.iter().find(|(holds, _)| self.secure && !holds) {
            Some((_, message)) => Err(anyhow!("--secure {message}")),
            None => Ok(()),
        }
    }

    /// What is kept of the clients' privacy.
    fn privacy(&self) -> anyhow::Result<Option<PrivacySettings>> {
        if self.noise_multiplier == 0.0 {
            return Ok(None);
        }
        let settings = json!({
            "noise_multiplier": self.noise_multiplier,
            "clip_norm": self.clip_norm,
            "clip_quantile": self.clip_quantile,
            "sampling_rate": self.ratio,
            "population": self.clients,
            "delta": self.delta,
            "epsilon_max": self.epsilon_max,
        });
        Ok(Some(serde_json::from_value(settings)?))
    }

    /// The policy for the rule, the optimiser and the mode.
    fn aggregation(&self) -> anyhow::Result<aggregation::Settings> {
        let policy = match (self.mode, self.rule, self.server_optimiser) {
            (Timing::Sync, Rule::Fedavg, Optimiser::Sgd) => "fedavg",
            (Timing::Sync, Rule::Fedavg, Optimiser::Momentum) => "fedavgm",
            (Timing::Sync, Rule::Fedavg, Optimiser::Adam) => "fedadam",
            (Timing::Sync, Rule::Fedavg, Optimiser::Yogi) => "fedyogi",
            (Timing::Sync, Rule::Median, Optimiser::Sgd) => "median",
            (Timing::Sync, Rule::TrimmedMean, Optimiser::Sgd) => "trimmed-mean",
            (Timing::Sync, Rule::MultiKrum, Optimiser::Sgd) => "multi-krum",
            (Timing::Buffered, Rule::Fedavg, Optimiser::Sgd) => "fedbuff",
            (Timing::Sync, ..) => {
                return Err(anyhow!("another --server-optimiser than sgd needs --rule fedavg"));
            }
            (Timing::Buffered, ..) => {
                let needs = "--rule fedavg and --server-optimiser sgd";
                return Err(anyhow!("--mode buffered needs {needs}"));
            }
        };
        // Of those asked more may be hostile than of all.
        let hostile = (self.attackers + 0.1).min(0.45);
        let mut settings = Map::new();
        settings.insert("policy".to_owned(), policy.into());
        if self.noise_multiplier == 0.0 {
            settings.insert("clip_norm".to_owned(), json!(self.clip_norm));
        }
        settings.insert("buffer".to_owned(), self.buffer.into());
        settings.insert("trim_share".to_owned(), json!(hostile));
        settings.insert("hostile_share".to_owned(), json!(hostile));
        if let Some(rate) = self.server_learning_rate {
            settings.insert("learning_rate".to_owned(), json!(rate));
        }
        let text = Value::Object(settings).to_string();
        aggregation::Settings::parse(&text).map_err(|error| anyhow!(error))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: SimulateArguments,
    }

    fn conditions(line: &str) -> anyhow::Result<Conditions> {
        let words = std::iter::once("simulate").chain(line.split_whitespace());
        Line::parse_from(words).arguments.conditions()
    }

    #[test]
    fn the_range_of_masked_values_is_that_of_the_rounds() {
        let range = |line| conditions(line).unwrap().rounds.secure.map(|secure| secure.range);
        assert_eq!(range("--secure"), Some(1.0));
        assert_eq!(range("--secure --secure-range 0.25"), Some(0.25));
        assert_eq!(range("--secure-range 0.25"), None);
    }

    #[test]
    fn options_are_a_policy_or_refused() {
        let check = |line: &str, expected: Result<aggregation::Policy, &str>| match (
            conditions(line),
            expected,
        ) {
            (Ok(found), Ok(policy)) => {
                assert_eq!(found.policy.aggregation.policy, policy, "{line}");
            }
            (Err(error), Err(part)) => {
                assert!(error.to_string().contains(part), "{line}: {error}");
            }
            (found, _) => panic!("{line}: {found:?}"),
        };
        check("", Ok(aggregation::Policy::Fedavg));
        check("--server-optimiser adam", Ok(aggregation::Policy::Fedadam));
        check("--mode buffered", Ok(aggregation::Policy::Fedbuff));
        check("--rule multi-krum --attackers 1", Ok(aggregation::Policy::MultiKrum));
        check("--rule median --server-optimiser yogi", Err("needs --rule fedavg"));
        check("--rule median --mode buffered", Err("--mode buffered needs"));
        check("--clients 1", Err("--clients"));
        check("--attackers 1.5", Err("--attackers"));
        check("--drop-out NaN", Err("--drop-out"));
        check("--task-s 0", Err("--task-s"));
        check("--encoding int4", Err("int8"));
        check("--server-learning-rate 0", Err("learning_rate"));
        check("--noise-multiplier 1 --clip-norm 1", Ok(aggregation::Policy::Fedavg));
        check("--noise-multiplier 1", Err("clip_norm"));
        check("--noise-multiplier 1 --clip-norm 1 --rule median", Err("does not go with"));
        check("--noise-multiplier 1 --clip-norm 1 --mode buffered", Err("sampling rate"));
        check("--secure", Ok(aggregation::Policy::Fedavg));
        check("--secure --server-optimiser yogi", Ok(aggregation::Policy::Fedyogi));
        check("--secure --noise-multiplier 1 --clip-norm 1", Ok(aggregation::Policy::Fedavg));
        check("--secure --secure-range 0.01", Ok(aggregation::Policy::Fedavg));
        check("--secure --secure-range 0", Err("`range` must be a number above 0"));
        check("--secure --secure-range inf", Err("`range` must be a number above 0"));
        let adaptive = "--noise-multiplier 1 --clip-norm 1 --clip-quantile 0.5";
        check(&format!("--secure --clients 200 {adaptive}"), Ok(aggregation::Policy::Fedavg));
        check("--secure --rule median", Err("looks at each of them"));
        check("--secure --mode buffered", Err("masks cancel among the clients of one round"));
        check("--secure --clip-norm 1", Err("`clip_norm` does not go with `rounds.secure`"));
        check("--secure --encoding int8", Err("--secure does not go with --encoding"));
        check("--secure --attack nan", Err("--secure does not go with --attack nan"));
        check("--secure --clients 600 --ratio 0.4", Ok(aggregation::Policy::Fedavg));
        check("--secure --clients 600", Err("at most 255 clients"));
        let private = "--noise-multiplier 1 --clip-norm 1 --ratio 0.1";
        check(&format!("--secure --clients 300 {private}"), Err("at most 255 clients"));
    }
}
