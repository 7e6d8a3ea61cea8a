//! Owns a client's part of a round, one step after the other.
//!
//! It is alive for one round: its secrets are nowhere but here. Refuses to answer for a second list
//! of survivors, for one that is too short, or for one that it is not part of, so that no server
//! can have both secrets of a client. Bound: two shares of each other client.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::SECRET_BYTES;
use super::field::split;
use super::masks::{Sign, add_stream};
use super::seal::{PublicKeys, SEALED_BYTES, box_key, open, pair_seed, public, seal};
use super::server::{Answers, Roster, SealedShares, Survivors};
use crate::error::{FederateError, field_error};
use crate::identity::{hexadecimal, of_hexadecimal};
use crate::privacy::Chance;

type Secret = [u8; SECRET_BYTES];

/// A client in a round.
pub struct SecureClient {
    id: u32,
    chance: Chance,
    mask_key: Secret,
    share_key: Secret,
    seed: Secret,
    roster: Option<Roster>,
    /// The shares of a mask key and of a seed that it keeps, by the client whose they are.
    held: BTreeMap<u32, [Secret; 2]>,
    /// Whether its input has left.
    has_masked: bool,
    answered: Option<Survivors>,
}

impl SecureClient {
    /// Makes its keys.
    ///
    /// # Errors
    /// [`FederateError::Port`] where the system has no random bytes.
    pub fn new(id: u32, mut chance: Chance) -> Result<Self, FederateError> {
        let (mask_key, share_key, seed) = (chance.key()?, chance.key()?, chance.key()?);
        Ok(Self {
            id,
            chance,
            mask_key,
            share_key,
            seed,
            roster: None,
            held: BTreeMap::new(),
            has_masked: false,
            answered: None,
        })
    }

    /// What it shows of them.
    pub fn keys(&self) -> PublicKeys {
        PublicKeys {
            mask: public(&self.mask_key),
            share: public(&self.share_key),
            seed_sha256: Sha256::digest(self.seed).into(),
        }
    }

    /// Splits its secrets among the clients of the roster, sealed for each.
    ///
    /// # Errors
    /// [`FederateError::Field`] for a roster without it, with a key twice or a threshold that half
    /// of the clients reach; for a second one.
    pub fn share(&mut self, roster: Roster) -> Result<SealedShares, FederateError> {
        roster.check()?;
        if self.roster.is_some() || roster.members.get(&self.id) != Some(&self.keys()) {
            let expected = "one, with this client and its keys";
            return Err(field_error("roster", "another one", expected));
        }
        let mut coefficients = || -> Result<Vec<Secret>, FederateError> {
            (1..roster.threshold).map(|_| self.chance.key()).collect()
        };
        let count = roster.members.len();
        let masks = split(&self.mask_key, &coefficients()?, count);
        let seeds = split(&self.seed, &coefficients()?, count);
        let mut sealed = SealedShares::new();
        for ((to, keys), shares) in roster.members.iter().zip(masks.into_iter().zip(seeds)) {
            let shares: [Secret; 2] = shares.into();
            if *to == self.id {
                self.held.insert(self.id, shares);
                continue;
            }
            let key = box_key(&self.share_key, &keys.share, roster.round, (self.id, *to))?;
            sealed.insert(*to, hexadecimal(&seal(&key, shares)?));
        }
        self.roster = Some(roster);
        Ok(sealed)
    }

    /// Opens the shares of the others, by sender, and hides the input: those who sent some are the
    /// ones that masks are made with.
    ///
    /// # Errors
    /// [`FederateError::Field`] for shares of fewer than the threshold, of strangers, or that were
    /// changed on their way; for a second call.
    pub fn mask(&mut self, shares: &SealedShares, values: &mut [u32]) -> Result<(), FederateError> {
        let Some(roster) = self.roster.as_ref().filter(|_| !self.has_masked) else {
            return Err(field_error("step", "an input", "the roster before, and one input"));
        };
        if shares.len() + 1 < roster.threshold {
            let found = format!("those of {} clients", shares.len());
            return Err(field_error("shares", found, roster.threshold - 1));
        }
        let mut seeds = Vec::with_capacity(shares.len());
        for (from, text) in shares {
            let keys = roster.members.get(from).filter(|_| *from != self.id);
            let keys = keys.ok_or_else(|| field_error("sender", from, "one of the roster"))?;
            let key = box_key(&self.share_key, &keys.share, roster.round, (*from, self.id))?;
            let sealed: Option<[u8; SEALED_BYTES]> = of_hexadecimal(text);
            let opened = sealed.map(|sealed| open(&key, &sealed)).transpose()?.flatten();
            let opened = opened.ok_or_else(|| {
                field_error("shares", format!("those of {from}, changed"), "as they were sealed")
            })?;
            self.held.insert(*from, opened);
            let pair = (self.id, *from);
            let seed = pair_seed(&self.mask_key, &keys.mask, roster.round, pair)?;
            seeds.push((seed, Sign::of_pair(self.id, *from)));
        }
        self.has_masked = true;
        add_stream(values, &self.seed, Sign::Plus)?;
        seeds.iter().try_for_each(|(seed, sign)| add_stream(values, seed, *sign))
    }

    /// Reveals what takes the masks off.
    ///
    /// # Errors
    /// [`FederateError::Field`] for a list that is not of all whose shares it holds, that has it
    /// not alive, or fewer alive than the threshold; for another list than before.
    pub fn reveal(&mut self, survivors: &Survivors) -> Result<Answers, FederateError> {
        let Some(roster) = self.roster.as_ref().filter(|_| self.has_masked) else {
            return Err(field_error("step", "an answer", "the input before"));
        };
        let refused = |found: &str, expected: &str| Err(field_error("survivors", found, expected));
        if self.answered.as_ref().is_some_and(|before| before != survivors) {
            return refused("another list", "the one that was answered: two would tell too much");
        }
        let Survivors { alive, dropped } = survivors;
        if alive.len() < roster.threshold || !alive.contains(&self.id) {
            return refused("too few, or others", "this client and as many as the threshold");
        }
        let is_whole = alive.union(dropped).eq(self.held.keys());
        if !is_whole || !alive.is_disjoint(dropped) {
            return refused("another group", "all whose shares are held, each once");
        }
        let mut answers = Answers::default();
        for (of, [mask_key, seed]) in &self.held {
            match alive.contains(of) {
                true => answers.seeds.insert(*of, hexadecimal(seed)),
                false => answers.mask_keys.insert(*of, hexadecimal(mask_key)),
            };
        }
        self.answered = Some(survivors.clone());
        Ok(answers)
    }
}
