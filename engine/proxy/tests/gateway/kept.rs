//! Answers that are kept on disk: after a restart, beyond what memory holds, purged, damaged.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use truststram_base::ManualClock;
use truststram_proxy::{
    Cache, CacheOptions, DiskSpec, GatewayOptions, Purge, RouteSpec, TableSpec,
};

use crate::direct::{NOW_US, origin};
use crate::rig::*;

const FIELDS: &str = "cache-control: max-age=60\r\ncache-tag: red\r\nx-a: 1\r\n";

/// A gateway with a cache in memory and on disk.
struct Kept {
    rig: Rig,
    cache: Arc<Cache>,
    clock: Arc<ManualClock>,
}

impl Kept {
    /// With so much memory and disk.
    async fn start(folder: &Path, memory: usize, disk: u64, times: usize, after_us: i64) -> Self {
        let clock = Arc::new(ManualClock::at(NOW_US + after_us));
        let cached = CacheOptions { bytes_max: memory, ..CacheOptions::default() };
        let spec = DiskSpec { folder: folder.to_owned(), bytes_max: disk };
        let cache = Arc::new(Cache::new(cached, clock.clone()).with_disk(spec).unwrap());
        let options = GatewayOptions { clock: clock.clone(), ..options() };
        let upstream = origin(FIELDS, times).await;
        let kept = RouteSpec { is_cached: true, ..route("kept", "/", to("g")) };
        let spec: TableSpec = table(vec![kept], vec![group("g", &[upstream])]);
        let with = With { cache: Some(cache.clone()), ..With::default() };
        Self { rig: Rig::start_behind(&spec, options, &with), cache, clock }
    }

    async fn wait_for(&self, is_so: impl Fn(&truststram_proxy::DiskFigures) -> bool) {
        while !is_so(&self.cache.disk().unwrap()) {
            tokio::task::yield_now().await;
        }
    }

    async fn ask(&self, path: &str) -> Answer {
        ask(self.rig.plain, &get(path)).await
    }

    fn forwarded(&self) -> u64 {
        self.cache.stats().forwarded.get()
    }

    /// Ends it, with all that is to be written.
    fn stop(self) {
        self.rig.stop();
        drop(self.cache);
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

const MEMORY: usize = 8 << 20;
const DISK: u64 = 64 << 20;

#[tokio::test]
async fn a_restart_finds_what_was_kept() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("cache");
    let first = Kept::start(&folder, MEMORY, DISK, 10, 0).await;
    let asked = first.ask("/a").await;
    assert_eq!(asked.header("cache-status"), Some("truststram; fwd=uri-miss; stored"));
    first.stop();
    assert_eq!(files(&folder).len(), 1);
    // A file that somebody else has put there is left alone, one that is not whole is not.
    fs::write(folder.join("notes"), "mine").unwrap();
    fs::write(folder.join("unfinished"), "half").unwrap();

    let second = Kept::start(&folder, MEMORY, DISK, 10, 40_000_000).await;
    second.wait_for(|disk| disk.files == 1).await;
    let again = second.ask("/a").await;
    assert_eq!(again.header("cache-status"), Some("truststram; hit; ttl=20"));
    assert_eq!((again.header("age"), again.header("x-a")), (Some("40"), Some("1")));
    assert_eq!((&again.body, second.forwarded()), (&asked.body, 0));
    assert_eq!(second.cache.disk().unwrap().read, 1);
    // From memory the next time.
    assert_eq!(second.ask("/a").await.status, 200);
    assert_eq!(second.cache.disk().unwrap().read, 1);
    second.clock.advance(30_000_000);
    let stale = second.ask("/a").await;
    assert_eq!(stale.header("cache-status"), Some("truststram; fwd=stale; stored"));
    second.stop();
    let mut left = files(&folder);
    left.sort();
    assert_eq!((left.len(), left[1].file_name().unwrap().to_str()), (2, Some("notes")));
}

#[tokio::test]
async fn memory_may_be_smaller_than_what_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    // A tenth of what is asked for fits.
    let kept = Kept::start(dir.path(), 1 << 20, DISK, 64 << 10, 0).await;
    for path in (0..50).map(|count| format!("/{count}")) {
        assert_eq!(kept.ask(&path).await.status, 200);
    }
    kept.wait_for(|disk| disk.written == 50).await;
    for path in (0..50).map(|count| format!("/{count}")) {
        let answer = kept.ask(&path).await;
        assert_eq!(answer.header("cache-status"), Some("truststram; hit; ttl=60"), "{path}");
    }
    assert_eq!(kept.forwarded(), 50);
    assert!(kept.cache.disk().unwrap().read >= 40);
    kept.stop();
}

#[tokio::test]
async fn the_disk_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let bytes_max = 4 << 20;
    let kept = Kept::start(dir.path(), MEMORY, bytes_max, 64 << 10, 0).await;
    for path in (0..40).map(|count| format!("/{count}")) {
        assert_eq!(kept.ask(&path).await.status, 200);
    }
    kept.wait_for(|disk| disk.written == 40).await;
    assert!(kept.cache.disk().unwrap().bytes <= bytes_max);
    kept.stop();
    let bytes: u64 = files(dir.path()).iter().map(|file| file.metadata().unwrap().len()).sum();
    assert!((1 << 20..=bytes_max).contains(&bytes), "{bytes}");
    // Less at the next start, and no more files than that.
    let less = Kept::start(dir.path(), MEMORY, 1 << 20, 1, 0).await;
    less.wait_for(|disk| disk.files > 0 && disk.bytes <= 1 << 20).await;
    less.stop();
    assert!(files(dir.path()).len() <= 5);
}

#[tokio::test]
async fn what_is_purged_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let kept = Kept::start(dir.path(), MEMORY, DISK, 10, 0).await;
    for (purge, gone) in [
        (Purge::Key("a.test/a"), 1),
        (Purge::Prefix("a.test/b"), 1),
        (Purge::Tag("red"), 3),
        (Purge::All, 3),
    ] {
        for path in ["/a", "/b/1", "/c"] {
            assert_eq!(kept.ask(path).await.status, 200);
        }
        let before = kept.forwarded();
        kept.cache.purge(purge);
        for path in ["/a", "/b/1", "/c"] {
            assert_eq!(kept.ask(path).await.status, 200);
        }
        assert_eq!(kept.forwarded() - before, gone, "{purge:?}");
    }
    // What a client has changed is gone from both.
    let post = "POST /a HTTP/1.1\r\nhost: a.test\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(ask(kept.rig.plain, post).await.status, 200);
    kept.stop();
    let next = Kept::start(dir.path(), MEMORY, DISK, 10, 0).await;
    next.wait_for(|disk| disk.files == 2).await;
    for path in ["/a", "/b/1", "/c"] {
        assert_eq!(next.ask(path).await.status, 200);
    }
    assert_eq!(next.forwarded(), 1);
    next.stop();
}

#[tokio::test]
async fn a_damaged_file_is_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let kept = Kept::start(dir.path(), MEMORY, DISK, 10, 0).await;
    for path in ["/a", "/b"] {
        assert_eq!(kept.ask(path).await.status, 200);
    }
    kept.stop();
    let all = files(dir.path());
    // The last byte of the body of one; the length of the other.
    let mut bytes = fs::read(&all[0]).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&all[0], bytes).unwrap();
    let bytes = fs::read(&all[1]).unwrap();
    fs::write(&all[1], &bytes[..bytes.len() - 1]).unwrap();
    let next = Kept::start(dir.path(), MEMORY, DISK, 10, 0).await;
    next.wait_for(|disk| disk.files == 1).await;
    for path in ["/a", "/b"] {
        assert_eq!(next.ask(path).await.body.len(), 30);
    }
    assert_eq!((next.forwarded(), next.cache.disk().unwrap().failed), (2, 1));
    next.stop();
}
