//! The batcher where its plugin fails.

use std::sync::Arc;

use truststram_base::ManualClock;
use truststram_policy::{Host, PluginLimits, PluginSource, PluginSpec};

use super::*;

/// Takes two, and traps when more than nine wait.
const TWO_OR_TRAP: &str = "(if (i32.gt_u (local.get $queued) (i32.const 9)) (then unreachable))
    (i32.store (i32.const 128) (i32.const 2)) (i32.const 128)";

#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "../../../tests/golden/plugins/component.rs"]
mod golden;

#[test]
fn what_takes_the_place_of_a_decision_is_what_was_configured() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let frame = root.join("tests/golden/plugins/hostile/frame.wat");
    let wat = std::fs::read_to_string(frame).unwrap().replace(";; DECIDE", TWO_OR_TRAP);
    let spec = PluginSpec {
        name: "tested".to_owned(),
        source: PluginSource::Bytes(golden::component(root, &wat).into()),
        settings_json: "{}".to_owned(),
        limits: PluginLimits::default(),
    };
    let host = Host::new(Arc::new(ManualClock::at(0))).unwrap();
    let view = |queued| QueueView { bucket: 0, queued, oldest_us: 0, batch_max: 64, target_us: 0 };
    for (on_failure, expected) in [(OnFailure::Default, 20), (OnFailure::LastGood, 2)] {
        let plugin = host.load::<policy::Batcher>(&spec).unwrap();
        let mut batcher = PluginBatcher::new(plugin.instance(), on_failure);
        assert_eq!(batcher.decide(&view(20)).unwrap().take, 20, "there is no good decision yet");
        let mut batcher = PluginBatcher::new(plugin.instance(), on_failure);
        assert_eq!(batcher.decide(&view(5)).unwrap().take, 2);
        assert_eq!(batcher.decide(&view(20)).unwrap().take, expected, "{on_failure:?}");
        assert_eq!(batcher.decide(&view(1)).unwrap().take, 1, "it fits what waits");
        plugin.set_enabled(false);
        assert_eq!(batcher.decide(&view(20)).unwrap().take, 20, "switched off");
        let [default, last_good, reject] = plugin.stats().fallbacks().map(|(_, count)| count);
        let counted = if on_failure == OnFailure::Default { (3, 0) } else { (1, 2) };
        assert_eq!(((default, last_good), reject), (counted, 0), "{on_failure:?}");
    }
    let plugin = host.load::<policy::Batcher>(&spec).unwrap();
    let mut shared = SharedBatcher::new(PluginBatcher::new(plugin.instance(), OnFailure::Default));
    let mut other = shared.clone();
    assert_eq!(other.decide(&view(5)).unwrap().take, 2);
    let asking = shared.0.lock().unwrap();
    assert_eq!(other.decide(&view(5)).unwrap().take, 5, "nobody waits for who is asking");
    drop(asking);
    assert_eq!(shared.decide(&view(5)).unwrap().take, 2);
    let plugin = host.load::<policy::Batcher>(&spec).unwrap();
    let mut batcher = PluginBatcher::new(plugin.instance(), OnFailure::Reject);
    assert_eq!(batcher.decide(&view(5)).unwrap().take, 2);
    assert_eq!(batcher.decide(&view(20)), None);
    assert_eq!(batcher.decide(&view(5)), None, "it rests");
    assert_eq!(plugin.stats().fallbacks()[2], ("reject", 2));
    plugin.set_enabled(false);
    assert_eq!(batcher.decide(&view(20)).unwrap().take, 20, "switched off");
}
