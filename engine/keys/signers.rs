//! Owns the seeds that tokens are signed with: made at the first start, exchanged once they are
//! old, kept while a token of theirs may be good.
//!
//! Refuses to sign. Bound: two or three seeds.

use truststram_proxy::{Seed, fresh_seed};
use truststram_store::Store;

use super::KeyError;

/// How records of seeds are called; their times, in a fixed width, follow.
const PREFIX: &str = "signer/";
const DAY_US: i64 = 86_400_000_000;
/// A seed that is older is exchanged at the next start.
const AGE_US: i64 = 30 * DAY_US;
/// How long a token may be good, and a seed is kept after the next one came.
const KEEP_US: i64 = DAY_US;

/// A seed and when it was made.
type Dated = (i64, Seed);

/// The seeds, the newest first; one is made where there is none, or only an old one.
///
/// # Errors
/// If the store cannot be read or written, or the system gives no chance.
pub fn open(store: &Store, now_us: i64) -> Result<Vec<Seed>, KeyError> {
    let seeds = all(store)?;
    match seeds.first() {
        Some((made_us, _)) if now_us - made_us < AGE_US => Ok(plain(&seeds)),
        _ => rotate(store, now_us),
    }
}

/// Makes a seed that signs from now on, and forgets those that no token needs any more.
///
/// # Errors
/// As [`open`]; then nothing has changed.
pub fn rotate(store: &Store, now_us: i64) -> Result<Vec<Seed>, KeyError> {
    let mut seeds = all(store)?;
    // Names are times, so that no two are made at one.
    let made_us = seeds.first().map_or(now_us, |(newest, _)| now_us.max(newest + 1));
    let seed = fresh_seed().ok_or(KeyError::Random)?;
    seeds.insert(0, (made_us, seed));
    let mut changes = vec![(name(made_us), Some(seed.to_vec()))];
    // A seed signs until the next one comes.
    let needed = |place: usize| place < 2 || now_us - seeds[place - 1].0 < KEEP_US;
    let gone = (0..seeds.len()).find(|&place| !needed(place)).unwrap_or(seeds.len());
    changes.extend(seeds[gone..].iter().map(|(made_us, _)| (name(*made_us), None)));
    store.change_access(&changes)?;
    seeds.truncate(gone);
    Ok(plain(&seeds))
}

fn name(made_us: i64) -> String {
    format!("{PREFIX}{made_us:020}")
}

fn plain(seeds: &[Dated]) -> Vec<Seed> {
    seeds.iter().map(|(_, seed)| *seed).collect()
}

/// The newest first.
fn all(store: &Store) -> Result<Vec<Dated>, KeyError> {
    let read = |(name, body): (String, Vec<u8>)| {
        let made_us = name[PREFIX.len()..].parse().ok();
        let seed = Seed::try_from(body.as_slice()).ok();
        made_us.zip(seed).ok_or(KeyError::Seed { name })
    };
    let mut seeds: Vec<Dated> =
        store.access_records(PREFIX)?.into_iter().map(read).collect::<Result<_, _>>()?;
    seeds.reverse();
    Ok(seeds)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use truststram_base::SystemClock;
    use truststram_store::StoreOptions;

    use super::*;

    #[test]
    fn seeds_are_exchanged_when_old_and_kept_while_tokens_need_them() {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock::new());
        let store = Store::open(directory.path(), StoreOptions::default(), clock).unwrap();
        let first = open(&store, 0).unwrap();
        assert_eq!(first.len(), 1);
        assert_eq!(open(&store, AGE_US - 1).unwrap(), first);
        let second = open(&store, AGE_US).unwrap();
        assert_eq!(second.len(), 2);
        assert_eq!(second[1], first[0]);
        let third = rotate(&store, AGE_US + KEEP_US - 1).unwrap();
        assert_eq!(third[1..], second, "a token of the first may be good still");
        let fourth = rotate(&store, AGE_US + KEEP_US).unwrap();
        assert_eq!(fourth[1..], third[..2], "none of the first is");
        assert_eq!(open(&store, AGE_US + KEEP_US).unwrap(), fourth);
        // A clock that went back makes no two of one name.
        assert_eq!(rotate(&store, 0).unwrap().len(), 4);
    }
}
