//! Owns `federate join`: a client's life, from the enrolment to the end of the federation.
//!
//! Refuses to send rows: what leaves is what has changed in the model. Bound: the rows, a model and
//! an update in memory.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use truststram_federate::codec::{Encoding, ErrorFeedback, Head, Kind};
use truststram_federate::identity::hexadecimal;
use truststram_machine::{Signals, Topology, limit_library_threads};
use truststram_train::{
    Dataset, LocalTrainer, LocalWork, TrainError, Trainable, local_sgd, read_rows,
};

use super::network::{Ask, Line, Reply, Trouble};
use super::state::State;
use crate::cli::client::encoded;
use crate::cli::signals::Watch;
use crate::cli::{Failure, output, tls};
use crate::federation::schema_of;

/// Seconds that the server is asked to wait for a task.
pub(super) const WAIT_S: u64 = 30;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct JoinArguments {
    /// Address of the server.
    #[arg(value_name = "URL")]
    server: String,
    /// The rows to train on: CSV with the class last, JSON Lines or Parquet.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// A token that lets this client in; not needed by one that was in before.
    #[arg(long)]
    token: Option<String>,
    /// Where the key is kept.
    #[arg(long, value_name = "DIRECTORY", default_value = "truststram-client")]
    state: PathBuf,
    /// How updates are written, among those that the federation takes; the first of them if absent.
    #[arg(long)]
    encoding: Option<String>,
    /// Updates of more MiB than this are sent in parts of that size.
    #[arg(long, value_name = "MIB", default_value_t = 8)]
    part_mib: usize,
    /// Of the shuffles.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Authorities that an https:// server's certificate may be of, in PEM; the system's if absent.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// How a step of a client's life ended.
pub(super) enum End {
    /// SIGTERM, or the federation is over.
    Over(String),
    /// It cannot go on.
    Failed(Failure),
}

impl From<Trouble> for End {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Stopped => Self::Over("stopped".to_owned()),
            Trouble::Network(detail) => Self::Failed(Failure::Failed(anyhow!(detail))),
        }
    }
}

impl From<anyhow::Error> for End {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(Failure::Failed(error))
    }
}

/// What training has made of a model.
struct Trained {
    delta: Vec<f32>,
    loss: f64,
    rows: usize,
}

pub(super) struct Member<'a> {
    arguments: &'a JoinArguments,
    pub(super) line: Line,
    state: State,
    rows: Dataset,
    /// The model that was fetched last, by its version and checksum.
    model: Option<(u64, String, Trainable)>,
    as_json: bool,
}

pub(super) fn run(arguments: &JoinArguments, as_json: bool) -> Result<(), Failure> {
    limit_library_threads()?;
    let signals = Signals::block()?;
    let rows = read_rows(&arguments.data, true).map_err(|error| Failure::Usage(error.into()))?;
    if let Some(encoding) = &arguments.encoding {
        encoding.parse::<Encoding>().map_err(|error| Failure::Usage(error.into()))?;
    }
    let state = State::open(&arguments.state)?;
    let tls = tls::of_server(&arguments.server, arguments.ca.as_deref());
    let tls = tls.map_err(Failure::Usage)?;
    let (line, stop) = Line::open(&arguments.server, state.signer()?, tls)?;
    let watch = Watch::start(signals, move || stop.stop())?;
    let mut member = Member { arguments, line, state, rows, model: None, as_json };
    let ended = member.live();
    watch.end()?;
    match ended {
        Ok(never) => match never {},
        Err(End::Over(reason)) => member.tell("ended", json!({ "reason": reason })),
        Err(End::Failed(failure)) => Err(failure),
    }
}

impl Member<'_> {
    fn tell(&self, event: &str, mut facts: Value) -> Result<(), Failure> {
        if self.as_json {
            facts["event"] = event.into();
            return output::json(&facts);
        }
        let shown = |(name, value): (&String, &Value)| match value {
            Value::String(text) => format!("{name} {text}"),
            other => format!("{name} {other}"),
        };
        let facts: Vec<String> = facts.as_object().into_iter().flatten().map(shown).collect();
        output::remark(&format!("{event}: {}", facts.join(", ")));
        Ok(())
    }

    pub(super) fn told(&self, event: &str, facts: Value) -> Result<(), End> {
        self.tell(event, facts).map_err(End::Failed)
    }

    /// Asks until there is an answer that says something about the request itself.
    pub(super) fn ask(&mut self, ask: &Ask) -> Result<Reply, End> {
        loop {
            match self.line.ask(ask) {
                Ok(reply) if matches!(reply.status, 429 | 502 | 503 | 504 | 507) => {
                    self.told("waiting", json!({ "reason": reply.detail() }))?;
                    self.line.pause(reply.number("retry-after"))?;
                }
                Ok(reply) => return Ok(reply),
                Err(Trouble::Network(reason)) => {
                    self.told("waiting", json!({ "reason": reason }))?;
                    self.line.pause(None)?;
                }
                Err(Trouble::Stopped) => return Err(Trouble::Stopped.into()),
            }
        }
    }

    fn live(&mut self) -> Result<std::convert::Infallible, End> {
        self.enrol()?;
        loop {
            let path = format!("/api/v1/fl/clients/{}/task?wait={WAIT_S}", self.line.client);
            let reply = self.ask(&Ask { method: "GET", path, ..Ask::default() })?;
            match reply.status {
                200 => self.work(&reply.json())?,
                204 => {}
                401 => self.enrol()?,
                410 => return Err(End::Over(reply.detail())),
                _ => return Err(anyhow!(reply.detail()).into()),
            }
        }
    }

    fn enrol(&mut self) -> Result<(), End> {
        self.line.client = 0;
        let cores = Topology::of_host().map_or(1, |topology| topology.cores().len());
        let body = json!({
            "public_key": self.line.public_key(),
            "token": self.arguments.token,
            "samples": self.rows.rows(),
            "cpu_cores": cores,
        });
        let reply = self.ask(&Ask {
            method: "POST",
            path: "/api/v1/fl/clients".to_owned(),
            media: "application/json",
            body: body.to_string().into_bytes(),
            ..Ask::default()
        })?;
        match (reply.status, reply.json()["client"].as_u64()) {
            (201, Some(client)) => {
                self.line.client = u32::try_from(client).unwrap_or(0);
                self.told("enrolled", json!({ "client": client }))
            }
            (410, _) => Err(End::Over(reply.detail())),
            (401, _) => Err(End::Failed(Failure::Refused(anyhow!(reply.detail())))),
            _ => Err(anyhow!(reply.detail()).into()),
        }
    }

    /// Does a task, from the model to the receipt.
    fn work(&mut self, task: &Value) -> Result<(), End> {
        let Some(file) = self.fetch(task)? else { return Ok(()) };
        let schema = schema_of(&file).map_err(anyhow::Error::from)?;
        if task["secure"] == true {
            if let Some(encoding) = &self.arguments.encoding {
                let error =
                    anyhow!("--encoding: the federation takes masked updates, no {encoding}");
                return Err(End::Failed(Failure::Usage(error)));
            }
            let mut train =
                |member: &mut Self| Ok(member.train(task, &file)?.map(|trained| trained.delta));
            return self.work_securely(task, &schema, &mut train);
        }
        let Some(Trained { delta, loss, rows }) = self.train(task, &file)? else { return Ok(()) };
        let base = task["base_version"].as_u64().unwrap_or(0);
        let model = task["model"].as_str().unwrap_or_default().to_owned();
        let encoding = self.encoding(task)?;
        let mut feedback = self.state.feedback(&model, &schema);
        let head = Head { kind: Kind::Delta, base, block: 256 };
        let body = feedback.encode(&delta, &schema, head, encoding).map_err(anyhow::Error::from)?;
        let query = format!("examples={rows}&loss={loss:.6}");
        self.send(task, body, &query, Some((&model, &feedback))).map(drop)
    }

    /// Trains as a task says; nothing where the training diverges.
    fn train(&mut self, task: &Value, file: &Trainable) -> Result<Option<Trained>, End> {
        let number = |key: &str| task[key].as_u64().unwrap_or(0);
        let rate = task["learning_rate"].as_f64().unwrap_or(0.05);
        let work = LocalWork {
            epochs: number("local_epochs").max(1) as usize,
            batch_size: number("batch_size").max(1) as usize,
            seed: self.arguments.seed ^ number("task"),
        };
        let trainer = LocalTrainer::new(file, &self.rows, local_sgd(rate));
        let mut trainer = trainer.map_err(|error| End::Failed(Failure::Usage(error.into())))?;
        let first = file.weights();
        let line = &self.line;
        let outcome = match trainer.train(&first, work, &mut || !line.is_stopped()) {
            Ok(Some(outcome)) => outcome,
            Ok(None) => return Err(Trouble::Stopped.into()),
            Err(error @ TrainError::Diverged { .. }) => {
                let facts = json!({ "task": task["task"], "reason": error.to_string() });
                return self.told("diverged", facts).map(|()| None);
            }
            Err(error) => return Err(End::Failed(Failure::Failed(error.into()))),
        };
        let delta = outcome.weights.iter().zip(&first).map(|(new, old)| new - old).collect();
        Ok(Some(Trained { delta, loss: outcome.loss, rows: trainer.rows() }))
    }

    /// How the update is written.
    fn encoding(&self, task: &Value) -> Result<Encoding, End> {
        let taken: Vec<&str> =
            task["encodings"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let wanted = match self.arguments.encoding.as_deref() {
            Some(wanted) if taken.contains(&wanted) => wanted,
            Some(wanted) => {
                let known = taken.join(", ");
                let error = anyhow!("--encoding: the federation takes no `{wanted}`, but {known}");
                return Err(End::Failed(Failure::Usage(error)));
            }
            None => taken.first().copied().unwrap_or("f32"),
        };
        Ok(wanted.parse().map_err(anyhow::Error::from)?)
    }

    /// The model of a task; none where it is gone meanwhile.
    fn fetch(&mut self, task: &Value) -> Result<Option<Trainable>, End> {
        let version = task["base_version"].as_u64().unwrap_or(0);
        let sha256 = task["sha256"].as_str().unwrap_or_default();
        if let Some((found, sum, file)) = &self.model
            && (*found, sum.as_str()) == (version, sha256)
        {
            return Ok(Some(file.clone()));
        }
        let model = encoded(task["model"].as_str().unwrap_or_default());
        let path = format!("/api/v1/fl/models/{model}/versions/{version}");
        let reply = self.ask(&Ask { method: "GET", path, ..Ask::default() })?;
        match reply.status {
            200 if hexadecimal(&Sha256::digest(&reply.body)) == sha256 => {
                let file = Trainable::parse(&reply.body).context("the model cannot be read")?;
                self.model = Some((version, sha256.to_owned(), file.clone()));
                Ok(Some(file))
            }
            200 => Err(anyhow!("the model that was fetched is not the one of the task").into()),
            401 | 404 | 410 => Ok(None),
            _ => Err(anyhow!(reply.detail()).into()),
        }
    }

    /// Sends an update; what its encoding has lost is kept once it counts. Whether it does.
    pub(super) fn send(
        &mut self,
        task: &Value,
        body: Vec<u8>,
        query: &str,
        kept: Option<(&str, &ErrorFeedback)>,
    ) -> Result<bool, End> {
        let id = task["task"].as_u64().unwrap_or(0);
        let (bytes, sha256) = (body.len(), hexadecimal(&Sha256::digest(&body)));
        let reply = match bytes > self.arguments.part_mib.max(1) << 20 {
            true => self.send_parts(id, &body, &sha256, query)?,
            false => self.ask(&Ask {
                method: "POST",
                path: format!("/api/v1/fl/tasks/{id}/updates?{query}"),
                media: "application/octet-stream",
                body,
                ..Ask::default()
            })?,
        };
        match reply.status {
            202 => {
                if let Some((model, feedback)) = kept {
                    self.state.keep(model, feedback)?;
                }
                let facts = json!({
                    "task": id, "round": task["round"], "bytes": bytes, "sha256": sha256,
                });
                self.told("accepted", facts).map(|()| true)
            }
            401 => Ok(false),
            404 | 409 | 410 | 413 | 422 => {
                let facts = json!({ "task": id, "reason": reply.detail() });
                self.told("refused", facts).map(|()| false)
            }
            _ => Err(anyhow!(reply.detail()).into()),
        }
    }

    /// Sends an update part by part, from where the server has it.
    fn send_parts(
        &mut self,
        id: u64,
        body: &[u8],
        sha256: &str,
        query: &str,
    ) -> Result<Reply, End> {
        let path = format!("/api/v1/fl/tasks/{id}/upload");
        let open = json!({ "bytes": body.len(), "sha256": sha256 }).to_string().into_bytes();
        let part = self.arguments.part_mib.max(1) << 20;
        let begin = Ask {
            method: "POST",
            path: path.clone(),
            media: "application/json",
            body: open,
            ..Ask::default()
        };
        let mut offset = None;
        loop {
            let Some(first) = offset else {
                let reply = self.ask(&begin)?;
                match (reply.status, reply.number("upload-offset")) {
                    (201, Some(found)) => offset = Some(found as usize),
                    _ => return Ok(reply),
                }
                continue;
            };
            if first >= body.len() {
                let path = format!("{path}/commit?{query}");
                return self.ask(&Ask { method: "POST", path, ..Ask::default() });
            }
            let reply = self.ask(&Ask {
                method: "PATCH",
                path: path.clone(),
                media: "application/offset+octet-stream",
                headers: vec![("upload-offset", first.to_string())],
                body: body[first..body.len().min(first + part)].to_vec(),
            })?;
            match (reply.status, reply.number("upload-offset")) {
                (204 | 409, Some(found)) => offset = Some(found as usize),
                // The server has started anew, and knows the upload once it is begun again.
                (404, _) => offset = None,
                (409, None) => self.line.pause(None)?,
                _ => return Ok(reply),
            }
        }
    }
}
