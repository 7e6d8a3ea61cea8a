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
fn the_latest_good_decision_goes_on_where_that_is_wanted() {
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
    let view = |queued| QueueView { queued, oldest_us: 0, batch_max: 64, target_us: 0 };
    for (on_failure, expected) in [(OnFailure::Default, 20), (OnFailure::LastGood, 2)] {
        let plugin = host.load::<policy::Batcher>(&spec).unwrap();
        let mut batcher = PluginBatcher::new(plugin.instance(), on_failure);
        assert_eq!(batcher.decide(&view(20)).take, 20, "there is no good decision yet");
        let mut batcher = PluginBatcher::new(plugin.instance(), on_failure);
        assert_eq!(batcher.decide(&view(5)).take, 2);
        assert_eq!(batcher.decide(&view(20)).take, expected, "{on_failure:?}");
        assert_eq!(batcher.decide(&view(1)).take, 1, "it fits what waits");
        plugin.set_enabled(false);
        assert_eq!(batcher.decide(&view(20)).take, 20, "switched off");
    }
}
