//! Owns the port of federated learning: clients, their tasks, models and updates.
//!
//! Refuses to know keys, rounds and files. Bound: bodies arrive as streams of chunks, of which the
//! receiver asks for one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use truststram_base::{Kind, ModelId};
use utoipa::ToSchema;

use super::{ArtifactChunks, Failure, ModelFailure};

/// What a request says of its sender, to be checked with the sender's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The client; 0 before it has a number.
    pub client: u32,
    /// When it was signed, microseconds UTC.
    pub time_us: i64,
    /// A number of its own.
    pub nonce: [u8; 16],
    /// The signature.
    pub signature: Vec<u8>,
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// SHA-256 of the body as the sender says it; whoever reads the body compares.
    pub body_sha256: [u8; 32],
}

/// A client that enrols.
#[derive(Clone, Debug, PartialEq)]
pub struct NewClient {
    /// Its public key.
    pub public_key: [u8; 32],
    /// The token that lets it in, if its key is not known yet.
    pub token: Option<String>,
    /// Examples that it says it has.
    pub samples: u64,
    /// Processor cores.
    pub cpu_cores: f32,
    /// Memory in GiB.
    pub memory_gib: f32,
}

/// What a client is to do.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct FederatedTask {
    /// Its number.
    pub task: u64,
    /// The round it belongs to.
    pub round: u64,
    /// The model.
    pub model: String,
    /// The version that training starts from; 0 is the one that the federation began with.
    pub base_version: u64,
    /// SHA-256 of the file of that version.
    pub sha256: String,
    /// The size of that file.
    pub bytes: u64,
    /// Until when an update is taken, microseconds UTC.
    pub deadline_us: i64,
    /// Milliseconds until then.
    pub deadline_ms: u64,
    /// Examples of a step.
    pub batch_size: u32,
    /// Passes over the client's examples.
    pub local_epochs: u32,
    /// The clients' learning rate.
    pub learning_rate: f64,
    /// How an update may be written, the most wanted first.
    pub encodings: Vec<String>,
    /// The tensors of the model's file that are trained.
    pub tensors: Vec<String>,
    /// The most bytes of an update.
    pub update_bytes_max: u64,
    /// Whether the server is told the sum of updates alone; go on at `/tasks/{task}/secure` then.
    pub secure: bool,
}

/// A step of a round of secure aggregation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecureStep {
    /// Send keys.
    Keys,
    /// Send sealed shares.
    Shares,
    /// Train and send a masked update.
    Input,
    /// Reveal what takes the masks off.
    Unmask,
}

/// Whose updates are in the sum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SecureSurvivors {
    /// Those of whom a share of the seed is asked for.
    pub alive: BTreeSet<u32>,
    /// Those of whom a share of the mask key is asked for.
    pub dropped: BTreeSet<u32>,
}

/// What a client is asked for in a round of secure aggregation.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct SecureRound {
    /// The step.
    pub step: SecureStep,
    /// Milliseconds until it is over.
    pub deadline_ms: u64,
    /// The round; it goes into what is derived from keys.
    pub round: u64,
    /// How many are needed to take masks off.
    pub threshold: usize,
    /// The keys of all clients by their numbers: mask key, share key and SHA-256 of the seed,
    /// hexadecimal.
    pub keys: BTreeMap<u32, String>,
    /// From step `input` on, the shares for this client by sender: they are who masks are made
    /// with.
    pub shares: BTreeMap<u32, String>,
    /// In step `unmask`, whose updates count.
    pub survivors: Option<SecureSurvivors>,
    /// The tensors of the model in the order in which streams run through their values.
    pub tensors: Vec<String>,
    /// The largest value of an update.
    pub range: f32,
    /// The length to which an update is to be shortened, if any.
    pub clip_norm: Option<f64>,
    /// The tensor of one value that goes behind those of the model where that length adapts: the
    /// range if the update is not longer, else its negative.
    pub clip_bit: Option<String>,
}

/// What a client reveals.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecureAnswers {
    /// A share of the seed of each client that is alive, hexadecimal.
    pub seeds: BTreeMap<u32, String>,
    /// A share of the mask key of each that dropped out.
    pub mask_keys: BTreeMap<u32, String>,
}

/// What a client sends in a round of secure aggregation besides its update.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecureMessage {
    /// Mask key, share key and SHA-256 of the seed, 192 hexadecimal digits.
    Keys(String),
    /// For each other client 160 hexadecimal digits.
    Shares(BTreeMap<u32, String>),
    /// What was asked for.
    Answers(SecureAnswers),
}

/// What comes with the body of an update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UpdateClaim {
    /// The task it answers.
    pub task: u64,
    /// Examples that it was trained on.
    pub examples: f64,
    /// The mean loss, if it is said.
    pub train_loss: Option<f32>,
}

/// What has become of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateReceipt {
    /// It is kept and counts.
    Accepted,
    /// The same was accepted before.
    Again,
}

/// A file of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFacts {
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
}

/// Why a request to a federation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FederatedFailure {
    /// What it means to its receiver.
    pub kind: Kind,
    /// What is wrong and what to do.
    pub detail: String,
    /// Whether the client has sent too much that was refused, and is to wait.
    pub is_too_many: bool,
    /// How much of an upload is there, where that is what is wrong.
    pub offset: Option<u64>,
}

impl FederatedFailure {
    /// A failure of this kind.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), is_too_many: false, offset: None }
    }
}

impl From<ModelFailure> for FederatedFailure {
    fn from(failure: ModelFailure) -> Self {
        Self::new(failure.kind, failure.detail)
    }
}

impl From<Failure> for FederatedFailure {
    fn from(failure: Failure) -> Self {
        Self::new(failure.kind(), failure.to_string())
    }
}

/// What a call ends with.
pub type FederatedAnswer<T> = BoxFuture<'static, Result<T, FederatedFailure>>;

/// A federation as its clients, its watchers and its operators see it.
pub trait Federated: Send + Sync {
    /// Takes a client in; ends with its number. `signed` is by the new key.
    fn enrol(&self, signed: Signed, client: NewClient) -> FederatedAnswer<u32>;
    /// Notes that a client is there.
    fn heartbeat(&self, signed: Signed) -> FederatedAnswer<()>;
    /// The task of a client; waits for one as long as that, and for no longer.
    fn task(&self, signed: Signed, wait_ms: u64) -> FederatedAnswer<Option<FederatedTask>>;
    /// The file of a version.
    fn model(&self, signed: Signed, model: ModelId, version: u64) -> FederatedAnswer<ModelFacts>;
    /// A part of that file.
    fn model_bytes(&self, facts: ModelFacts, version: u64, range: Range<u64>) -> ArtifactChunks;
    /// Takes an update in, which is on disk and recorded once this ends.
    fn update(
        &self,
        signed: Signed,
        claim: UpdateClaim,
        body: ArtifactChunks,
    ) -> FederatedAnswer<UpdateReceipt>;
    /// Begins an upload in parts, of so many bytes with this SHA-256, or goes on with it; ends with
    /// how much of it is there.
    fn open_upload(
        &self,
        signed: Signed,
        task: u64,
        bytes: u64,
        sha256: [u8; 32],
    ) -> FederatedAnswer<u64>;
    /// How much of an upload is there.
    fn upload_offset(&self, signed: Signed, task: u64) -> FederatedAnswer<u64>;
    /// Adds a part at `offset`, all of it or nothing; ends with how much is there.
    fn append(
        &self,
        signed: Signed,
        task: u64,
        offset: u64,
        body: ArtifactChunks,
    ) -> FederatedAnswer<u64>;
    /// Takes an upload that is all there as the update of its task.
    fn commit(&self, signed: Signed, claim: UpdateClaim) -> FederatedAnswer<UpdateReceipt>;
    /// How far a client's round of secure aggregation is, once it is further than `after`; waits as
    /// long as that, and for no longer.
    fn secure_round(
        &self,
        signed: Signed,
        task: u64,
        after: Option<SecureStep>,
        wait_ms: u64,
    ) -> FederatedAnswer<Option<SecureRound>>;
    /// Takes what a client sends in such a round, which is recorded once this ends.
    fn secure_message(
        &self,
        signed: Signed,
        task: u64,
        message: SecureMessage,
    ) -> FederatedAnswer<UpdateReceipt>;
    /// Where the federation stands.
    fn status(&self) -> Value;
    /// What happens from now on, each a server-sent event; none where too many watch already.
    fn events(&self) -> Option<BoxStream<'static, String>>;
    /// Starts a federation; ends with its status.
    fn start(&self, spec: Value) -> FederatedAnswer<Value>;
    /// Ends it for good.
    fn stop(&self) -> FederatedAnswer<Value>;
    /// Makes tokens, each of which lets one client in within so many seconds.
    fn tokens(&self, count: usize, valid_s: u64) -> FederatedAnswer<Vec<String>>;
    /// The status with clients and the tasks of the last rounds.
    fn records(&self) -> FederatedAnswer<Value>;
}
