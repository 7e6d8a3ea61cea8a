//! Owns `truststram key`: API keys of a data directory, or of the server that has it.
//!
//! Refuses to write a key anywhere but to standard output. Bound: one change at a time.

use anyhow::anyhow;
use serde_json::{Value, json};
use truststram_api::ports::{KeyChange, NewKey};
use truststram_base::{Kind, UserId};
use truststram_proxy::{Signers, day_of};

use super::client::encoded;
use super::db::place::{AdminPlace, Local, Reached};
use super::db::time;
use super::{Failure, output};
use crate::keys::{self, KeyError, signers};
use crate::quotas;

#[derive(Debug, clap::Subcommand)]
pub(super) enum KeyCommand {
    /// List the keys: whom they stand for, what they may do, when they were used last since the
    /// server started, and how often today by limits with `window = "day"`.
    List(AdminPlace),
    /// Show one key, with what it and its user have used today of limits with `window = "day"`.
    Show {
        /// The key's id.
        id: String,
        #[command(flatten)]
        place: AdminPlace,
    },
    /// Make a key and print it, once: it is not kept.
    ///
    /// Scopes, for the public side: predict, models:read, models:write, data, training, federated,
    /// or all. Roles, for the operators' side: viewer looks, operator changes, admin has keys and
    /// plugins as well.
    Create(CreateArguments),
    /// Give a key another secret and print it; the one before stays good for a while.
    Rotate(RotateArguments),
    /// Have tokens be signed with a new key from now on; those that were given stay good.
    ///
    /// A server does it by itself when it starts and its key is older than 30 days.
    RotateSigner(AdminPlace),
    /// Have a key be good no more, at once.
    Revoke {
        /// The key's id, the part of it between `ts_` and the next `_`.
        id: String,
        #[command(flatten)]
        place: AdminPlace,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct CreateArguments {
    /// What it is for.
    name: String,
    /// Whom it stands for, instead of the name.
    #[arg(long)]
    user: Option<String>,
    /// What it may do on the public side; several with commas.
    #[arg(long, value_name = "SCOPE", value_delimiter = ',')]
    scope: Vec<String>,
    /// What it may do on the operators' side.
    #[arg(long)]
    role: Option<String>,
    /// When it is good no more, such as 90d, 12h or 30m from now.
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    #[command(flatten)]
    place: AdminPlace,
}

#[derive(Debug, clap::Args)]
pub(super) struct RotateArguments {
    /// The key's id.
    id: String,
    /// How long the secret before is good still, such as 1d or 30m; 0s ends it at once.
    #[arg(long, value_name = "TIME", default_value = "1d")]
    overlap: String,
    #[command(flatten)]
    place: AdminPlace,
}

pub(super) fn run(command: &KeyCommand, json: bool) -> Result<(), Failure> {
    match command {
        KeyCommand::List(place) => {
            let listed = listed(place)?;
            if json { output::json(&listed) } else { output::text(&table(&listed)) }
        }
        KeyCommand::Show { id, place } => {
            let listed = listed(place)?;
            let mut keys = listed["keys"].as_array().into_iter().flatten();
            let unknown = || failed(KeyError::Unknown { id: id.clone() });
            let key = keys.find(|key| text(&key["id"]) == id).ok_or_else(unknown)?;
            if json { output::json(key) } else { output::text(&shown(key)) }
        }
        KeyCommand::Create(arguments) => {
            let key = NewKey {
                name: arguments.name.clone(),
                user: arguments.user.clone(),
                scopes: arguments.scope.clone(),
                role: arguments.role.clone(),
                expires_in_s: arguments.expires.as_deref().map(seconds).transpose()?,
            };
            let body = json!({
                "name": key.name,
                "user": key.user,
                "scopes": key.scopes,
                "role": key.role,
                "expires_in_s": key.expires_in_s,
            });
            let sent = ("POST", "/admin/v1/keys", body);
            made(&arguments.place, KeyChange::Create(key), &sent, json)
        }
        KeyCommand::Rotate(arguments) => {
            let overlap_s = seconds(&arguments.overlap)?;
            let path = format!("/admin/v1/keys/{}/rotate", encoded(&arguments.id));
            let sent = ("POST", path.as_str(), json!({ "overlap_s": overlap_s }));
            let change = KeyChange::Rotate(arguments.id.clone(), overlap_s);
            made(&arguments.place, change, &sent, json)
        }
        KeyCommand::RotateSigner(place) => {
            let path = "/admin/v1/signing-key/rotate";
            let set = match place.reach()? {
                Reached::Here(local) => local.with(|local| {
                    let seeds = signers::rotate(&local.store, local.clock.utc_us());
                    let signers = Signers::default();
                    signers.replace(&seeds.map_err(failed)?);
                    Ok(signers.jwks())
                })?,
                Reached::Server(server) => server.send("POST", path, b"{}")?,
            };
            if json {
                return output::json(&set);
            }
            output::text(&format!("tokens are signed with {}\n", text(&set["keys"][0]["kid"])))
        }
        KeyCommand::Revoke { id, place } => {
            let path = format!("/admin/v1/keys/{}", encoded(id));
            let revoked =
                changed(place, KeyChange::Revoke(id.clone()), &("DELETE", &path, Value::Null))?;
            if json {
                return output::json(&revoked);
            }
            output::text(&format!("{id} ({}) is revoked\n", text(&revoked["name"])))
        }
    }
}

fn listed(place: &AdminPlace) -> Result<Value, Failure> {
    match place.reach()? {
        Reached::Here(local) => local.with(|local| {
            let kept = quotas::of_day(&local.store, day_of(local.clock.utc_us()));
            let kept = kept.map_err(|error| failed(error.into()))?;
            let used_today = |id: &str, user: &UserId| quotas::used(&kept, id, user);
            keys::list(&local.store, |_| None, used_today).map_err(failed)
        }),
        Reached::Server(server) => server.send("GET", "/admin/v1/keys", &[]),
    }
}

/// A method, a path and a body.
type Sent<'a> = (&'a str, &'a str, Value);

/// Changes a key and prints its text.
fn made(place: &AdminPlace, change: KeyChange, sent: &Sent<'_>, json: bool) -> Result<(), Failure> {
    let made = changed(place, change, sent)?;
    if json {
        return output::json(&made);
    }
    output::text(&format!("{}\n", text(&made["key"])))?;
    output::remark("keep it safe: it is not shown again");
    Ok(())
}

fn changed(place: &AdminPlace, change: KeyChange, sent: &Sent<'_>) -> Result<Value, Failure> {
    let here = |local: &Local| {
        let changed = keys::change(&local.store, &change, local.clock.utc_us());
        changed.map(|changed| changed.shown).map_err(failed)
    };
    match place.reach_or_create()? {
        Reached::Here(local) => local.with(here),
        Reached::Server(server) => {
            let (method, path, body) = sent;
            server.send(method, path, body.to_string().as_bytes())
        }
    }
}

fn seconds(text: &str) -> Result<u64, Failure> {
    let length_us = time::length(text).and_then(|length_us| u64::try_from(length_us).ok());
    let wrong = || anyhow!("`{text}` is no length of time; write 90d, 12h, 30m or 10s");
    length_us.map(|us| us / 1_000_000).ok_or_else(|| Failure::Usage(wrong()))
}

fn failed(error: KeyError) -> Failure {
    match error.kind() {
        Kind::Invalid => Failure::Usage(error.into()),
        _ => Failure::Failed(error.into()),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

const COLUMNS: [&str; 8] =
    ["id", "name", "user", "scopes", "role", "expires", "last used", "used today"];

fn row(key: &Value) -> Vec<String> {
    let scopes = key["scopes"].as_array().into_iter().flatten().map(text);
    let or = |value: &Value, none: &str| value.as_str().unwrap_or(none).to_owned();
    let used = key["used_today"].as_object().into_iter().flatten();
    let used: Vec<String> = used.map(|(zone, count)| format!("{zone} {count}")).collect();
    vec![
        or(&key["id"], ""),
        or(&key["name"], ""),
        or(&key["user"], ""),
        scopes.collect::<Vec<_>>().join(" "),
        or(&key["role"], "-"),
        or(&key["expires_at"], "never"),
        or(&key["last_used_at"], "-"),
        if used.is_empty() { "-".to_owned() } else { used.join(", ") },
    ]
}

fn table(listed: &Value) -> String {
    let rows: Vec<Vec<String>> = listed["keys"].as_array().into_iter().flatten().map(row).collect();
    output::table(&COLUMNS, &rows)
}

/// One key, a line for each of its columns.
fn shown(key: &Value) -> String {
    let lines = COLUMNS.iter().zip(row(key));
    lines.map(|(name, value)| format!("{name:<10}  {value}\n")).collect()
}
