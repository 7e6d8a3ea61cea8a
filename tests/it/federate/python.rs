//! The client in Python: its signatures, its encodings, and its part in a federation beside others.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::clients::{CONFIG, Client, begin, shares, standing, tokens, write_rows};
use crate::harness::{Server, trained_dir};

/// A Python that has numpy and safetensors: `PYTHON`, or the one on the path.
pub fn python() -> Option<PathBuf> {
    let named = std::env::var_os("PYTHON").map(PathBuf::from);
    let candidates = named.into_iter().chain(["python3".into()]);
    let has_all = |python: &PathBuf| {
        let tried = Command::new(python)
            .args(["-c", "import numpy, safetensors.numpy"])
            .stderr(Stdio::null())
            .status();
        tried.is_ok_and(|status| status.success())
    };
    candidates.into_iter().find(has_all)
}

const SIGNATURE: &str = "
from truststram_fl import ed25519
seed = '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60'
key = ed25519._Key(bytes.fromhex(seed))
assert key.public.hex() == 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a'
assert key.sign(b'').hex().startswith('e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065')
";

const AGREEMENT: &str = "
from truststram_fl import secure
scalar = 'a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4'
point = 'e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c'
shared = secure.x25519(bytes.fromhex(scalar), bytes.fromhex(point)).hex()
assert shared == 'c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552'
";

/// Two clients in Python and one of ours live through a federation of two versions; without Python
/// it is skipped, and says so.
fn live(spec: &Value) -> Option<Value> {
    let Some(python) = python() else {
        crate::harness::remark("skipped: no python3 with numpy and safetensors (set PYTHON)");
        return None;
    };
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/python");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&python);
        command.args(arguments).env("PYTHONPATH", &package).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    };
    // RFC 8032, section 7.1, test 1; RFC 7748, section 5.2.
    for answers in [SIGNATURE, AGREEMENT] {
        assert!(run(&["-c", answers]).status().unwrap().success());
    }
    let dir = trained_dir();
    let server = Server::start_configured(dir.path(), CONFIG);
    begin(&server, spec);
    let folder = tempfile::tempdir().unwrap();
    let (parts, tokens) = (shares(3), tokens(&server, 3));
    let example = package.join("example.py");
    let in_python: Vec<_> = (0..2)
        .map(|index| {
            let rows = folder.path().join(format!("{index}.csv"));
            write_rows(&rows, &parts[index]);
            let state = folder.path().join(format!("state-{index}"));
            run(&[example.to_str().unwrap(), &server.public, &tokens[index]])
                .args([rows, state])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let ours = folder.path().join("ours");
    let ours = Client::join(&ours, &server.public, &tokens[2], &parts[2], &[]);
    for client in in_python {
        let output = client.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let failed = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}{failed}");
        assert_eq!(said.matches(", counts").count(), 2, "{said}");
        assert!(said.contains("the federation is over"), "{said}");
    }
    ours.wait();
    let status = standing(&server);
    assert_eq!((&status["version"], &status["updates"]["refused"]), (&json!(2), &json!(0)));
    Some(status)
}

#[test]
fn a_client_in_python_takes_part() {
    live(&json!({
        "model": "digits", "versions": 2, "selector": { "ratio": 1.0 },
        "encodings": ["top-0.1-int8", "f32"],
        "rounds": { "clients_min": 3, "over_selection": 1.0 },
    }));
}

#[test]
fn a_client_in_python_masks_its_updates() {
    let Some(status) = live(&json!({
        "model": "digits", "versions": 2, "selector": { "ratio": 1.0 },
        // All have to answer, so that each is told that it counts.
        "rounds": {
            "clients_min": 3, "over_selection": 1.0, "secure": { "threshold": 1.0 },
        },
    })) else {
        return;
    };
    let last = status["last"].as_str().unwrap();
    assert!(last.contains("3 masked updates, 0 dropped out"), "{last}");
}

#[test]
fn a_client_in_python_says_whether_the_clip_is_long_enough() {
    let Some(status) = live(&json!({
        "model": "digits", "versions": 2,
        "rounds": {
            "clients_min": 3, "over_selection": 1.0, "secure": { "threshold": 1.0 },
            "privacy": {
                "noise_multiplier": 0.01, "clip_norm": 0.01, "clip_quantile": 0.5,
                "count_noise": 0.01, "population": 3,
            },
        },
    })) else {
        return;
    };
    // All updates are longer than that, in both languages: exp(0.2 * 0.5) for each round.
    let clip = status["privacy"]["clip_norm"].as_f64().unwrap();
    assert!((clip / (0.01 * 0.2_f64.exp()) - 1.0).abs() < 0.01, "{status}");
}
