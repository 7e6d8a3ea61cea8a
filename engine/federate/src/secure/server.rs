//! Owns what the server does with a round's messages: the lists that it hands out, and the masks
//! that it takes off a sum.
//!
//! Refuses a share that its list does not ask for. Bound: as many streams as there are clients, and
//! as there are pairs of one that dropped out and one that did not.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::field::join;
use super::masks::{Sign, add_stream};
use super::seal::{PublicKeys, SEALED_BYTES, pair_seed, public};
use super::{CLIENTS_MAX, SECRET_BYTES};
use crate::error::{FederateError, field_error};
use crate::identity::of_hexadecimal;

/// Who takes part, and with which keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    /// The round.
    pub round: u64,
    /// How many are needed to take masks off.
    pub threshold: usize,
    /// The clients' keys.
    pub members: BTreeMap<u32, PublicKeys>,
}

impl Roster {
    /// Checks that shares can be made for it, and that no key is there twice.
    ///
    /// # Errors
    /// [`FederateError::Field`] says what is wrong.
    pub fn check(&self) -> Result<(), FederateError> {
        let count = self.members.len();
        if count > CLIENTS_MAX || self.threshold > count || 2 * self.threshold <= count {
            let found = format!("{} of {count}", self.threshold);
            return Err(field_error("threshold", found, "above half of the clients, at most 255"));
        }
        let keys: BTreeSet<&PublicKeys> = self.members.values().collect();
        if keys.len() != count {
            return Err(field_error("roster", "one key of two clients", "a key for each"));
        }
        Ok(())
    }

    /// The point of a client's shares.
    pub(super) fn point(&self, client: u32) -> Option<u8> {
        let index = self.members.keys().position(|member| *member == client)?;
        u8::try_from(index + 1).ok()
    }
}

/// Sealed shares by receiver, or by sender: 160 hexadecimal digits each.
pub type SealedShares = BTreeMap<u32, String>;

/// Checks the form of sealed shares: one for each other member of the roster.
pub(crate) fn check_sealed(
    sealed: &SealedShares,
    own: u32,
    roster: &Roster,
) -> Result<(), FederateError> {
    let others = roster.members.keys().filter(|member| **member != own);
    if !sealed.keys().eq(others) {
        return Err(field_error("shares", "for others", "one for each other client of the round"));
    }
    match sealed.values().find(|text| of_hexadecimal::<SEALED_BYTES>(text).is_none()) {
        Some(text) => {
            let found = format!("a share of {} digits", text.len());
            Err(field_error("shares", found, format!("{} of base 16", 2 * SEALED_BYTES)))
        }
        None => Ok(()),
    }
}

/// Whose inputs are in the sum, and who dropped out after sharing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Survivors {
    /// Their inputs are there: their seeds are asked for.
    pub alive: BTreeSet<u32>,
    /// Their inputs are not: their mask keys are asked for.
    pub dropped: BTreeSet<u32>,
}

/// What a client reveals: a share of the seed of each that is alive, and of the mask key of each
/// that dropped out; 64 hexadecimal digits each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    /// Of seeds, by client.
    pub seeds: BTreeMap<u32, String>,
    /// Of mask keys, by client.
    pub mask_keys: BTreeMap<u32, String>,
}

impl Answers {
    /// Checks that just what was asked for is there: never both shares of one client.
    ///
    /// # Errors
    /// [`FederateError::Field`] says what is wrong.
    pub(crate) fn check(&self, survivors: &Survivors) -> Result<(), FederateError> {
        let is_asked =
            self.seeds.keys().eq(&survivors.alive) && self.mask_keys.keys().eq(&survivors.dropped);
        if !is_asked {
            let expected = "a seed's for each client that is alive, a mask key's for the others";
            return Err(field_error("answers", "shares of others", expected));
        }
        let mut texts = self.seeds.values().chain(self.mask_keys.values());
        match texts.find(|text| of_hexadecimal::<SECRET_BYTES>(text).is_none()) {
            Some(text) => {
                let found = format!("a share of {} digits", text.len());
                Err(field_error("answers", found, "64 of base 16"))
            }
            None => Ok(()),
        }
    }
}

/// Takes the masks off the sum of the inputs of all that are alive. `answers` are by client, as
/// many as the threshold at least.
///
/// # Errors
/// [`FederateError::Field`] if the shares do not give what a client has shown before.
pub(crate) fn unmask(
    sum: &mut [u32],
    roster: &Roster,
    survivors: &Survivors,
    answers: &BTreeMap<u32, Answers>,
) -> Result<(), FederateError> {
    let joined = |of: u32, shares: fn(&Answers) -> &BTreeMap<u32, String>| {
        let given = answers.iter().filter_map(|(from, given)| {
            Some((roster.point(*from)?, of_hexadecimal(shares(given).get(&of)?)?))
        });
        let given: Vec<(u8, [u8; SECRET_BYTES])> = given.take(roster.threshold).collect();
        if given.len() < roster.threshold {
            return Err(field_error("answers", given.len(), roster.threshold));
        }
        Ok(join(&given))
    };
    let wrong = |of: u32, what| {
        let expected = format!("the {what} that client {of} has shown the public part of");
        field_error("shares", format!("those of another {what}"), expected)
    };
    let keys = |of: u32| {
        let found = roster.members.get(&of).copied();
        found.ok_or_else(|| field_error("client", of, "one of the roster"))
    };
    for &client in &survivors.alive {
        let seed = joined(client, |answers| &answers.seeds)?;
        if Sha256::digest(seed)[..] != keys(client)?.seed_sha256 {
            return Err(wrong(client, "seed"));
        }
        add_stream(sum, &seed, Sign::Minus)?;
    }
    for &client in &survivors.dropped {
        let key = joined(client, |answers| &answers.mask_keys)?;
        if public(&key) != keys(client)?.mask {
            return Err(wrong(client, "mask key"));
        }
        for &alive in &survivors.alive {
            let pair = (alive, client);
            let seed = pair_seed(&key, &keys(alive)?.mask, roster.round, pair)?;
            add_stream(sum, &seed, Sign::of_pair(alive, client).turned())?;
        }
    }
    Ok(())
}
