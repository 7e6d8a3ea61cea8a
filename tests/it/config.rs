//! Configuration: every problem at once with its place, and the generated file kept true.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use crate::harness::BINARY;

fn run(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn every_problem_is_reported_at_once_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bad.toml");
    fs::create_dir(dir.path().join("conf.d")).unwrap();
    fs::write(dir.path().join("conf.d/more.toml"), "[log]\nlevel = \"a=loudest\"\n").unwrap();
    fs::write(dir.path().join("plain"), "a file").unwrap();
    fs::write(
        &file,
        format!(
            "[server]\nlisten = \"0.0.0.0:80\"\nadmin_listen = \"here\"\nlissten = 1\n\
             data_dir = {:?}\n[inference]\nbatch_max = 0\ncores = \"999\"\n[store]\n\
             when_full = \"wait\"\n[nonsense]\n[[plugins]]\nname = \"a\"\nkind = \"oracle\"\n",
            dir.path().join("plain/data")
        ),
    )
    .unwrap();
    let path = file.to_str().unwrap();
    let output = run(&["check-config", "--config", path]);
    assert_eq!(output.status.code(), Some(2));
    let first = said(&output);
    for (line, part) in [
        (4, "server.lissten: unknown field"),
        (10, "store.when_full: unknown variant"),
        (11, "nonsense: is not a known section"),
        (12, "plugins[0]: unknown variant"),
    ] {
        assert!(first.contains(&format!("bad.toml:{line}: {part}")), "{part}: {first}");
    }
    // With those mended, the values are judged, again all at once.
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replace("lissten = 1\n", "").replace("when_full = \"wait\"\n", "");
    fs::write(&file, &text[..text.find("[nonsense]").unwrap()]).unwrap();
    let output = run(&["serve", "--config", path]);
    assert_eq!(output.status.code(), Some(2));
    let second = said(&output);
    for part in [
        "bad.toml:2: server.listen: 0.0.0.0:80 is not a loopback address",
        "bad.toml:3: server.admin_listen: `here` is not an address",
        "bad.toml:4: server.data_dir:",
        "bad.toml:6: inference.batch_max: must be 1 to",
        "bad.toml:7: inference.cores: core 999",
        "conf.d/more.toml:2: log.level: `a=loudest` is not a filter",
    ] {
        assert!(second.contains(part), "{part}: {second}");
    }
}

#[test]
fn plugins_are_held_against_their_manifests_before_anything_is_run() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("plugins.toml");
    let plugin = |name: &str, kind: &str, rest: &str| {
        format!("[[plugins]]\nname = \"{name}\"\nkind = \"{kind}\"\n{rest}\n")
    };
    let text = [
        plugin("a", "batcher", "builtin = \"deadline\"\nsettings = { wait = 5 }"),
        plugin("b", "batcher", "builtin = \"greedy\""),
        plugin("b", "placer", "builtin = \"greedy\""),
        plugin("b", "router", "path = \"/nowhere\""),
        plugin("c", "selector", "builtin = \"random\"\nsettings = { ratio = 2.0 }"),
        plugin("d d", "tuner", "limits = { memory_mib = 0 }"),
    ];
    fs::write(&file, text.concat()).unwrap();
    let output = run(&["check-config", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let said = said(&output);
    for part in [
        "plugins[0].settings: plugin `a`: unknown setting `wait`; known: min_batch, policy",
        "plugins[1]: is a second batcher",
        "plugins[2].builtin: plugin `b`: no built-in placer is named `greedy`; known: cost-optimal",
        "plugins[3].name: `b` is taken already",
        "plugins[3].path: plugin `b`: cannot read /nowhere",
        "plugins[4].settings: plugin `c`: setting `ratio` is 2.0; it must be a number from 0 to 1",
        "plugins[5]: must have either `path` or `builtin`",
        "plugins[5].name: must be 1 to 64 letters",
        "plugins[5].limits: memory_mib must be 1 to 1024",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_hedge_that_could_never_be_sent_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hedges.toml");
    let group = |name: &str, count: usize, rest: &str| {
        let servers: Vec<String> =
            (0..count).map(|at| format!("{{ address = \"10.0.0.{at}:80\" }}")).collect();
        format!("[[upstreams]]\nname = \"{name}\"\nservers = [{}]\n{rest}\n", servers.join(", "))
    };
    let text = [
        group("a", 2, "hedge = {}"),
        group("b", 1, "hedge = { after_ms = 0 }"),
        group("c", 2, "hedge = { budget_percent = 0 }\nretries = 0"),
        group("d", 2, "hedge = {}\nretry_budget_percent = 0\nprotocol = \"h2c\""),
    ];
    fs::write(&file, text.concat()).unwrap();
    let output = run(&["check-config", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let said = said(&output);
    assert!(!said.contains("upstreams[0]"), "{said}");
    for part in [
        "upstreams[1].hedge: needs a second server to ask",
        "upstreams[1].hedge: is out of bounds",
        "upstreams[2].hedge: budget_percent must be 1 to 100",
        "upstreams[2].hedge: needs `retries` and `retry_budget_percent`",
        "upstreams[3].hedge: needs `retries` and `retry_budget_percent`",
        "upstreams[3].hedge: needs `protocol = \"http\"`",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn ports_in_use_are_both_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken: Vec<TcpListener> =
        (0..2).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let address = |index: usize| taken[index].local_addr().unwrap().to_string();
    let data_dir = dir.path().join("data");
    let output = run(&[
        "serve",
        "--listen",
        &address(0),
        "--admin-listen",
        &address(1),
        "--data-dir",
        data_dir.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(2));
    let said = said(&output);
    assert!(said.contains(&format!("--listen: server.listen: {} is in use", address(0))), "{said}");
    assert!(said.contains(&format!("server.admin_listen: {} is in use", address(1))), "{said}");
}

#[test]
fn the_generated_file_is_true_and_complete() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/truststram.toml");
    let generated = String::from_utf8(run(&["print-config", "--default"]).stdout).unwrap();
    let kept = fs::read_to_string(&file).unwrap_or_default();
    assert!(kept == generated, "run `truststram print-config --default > config/truststram.toml`");
    let path = file.to_str().unwrap();
    let read = run(&["print-config", "--json", "--config", path]);
    let built_in = run(&["print-config", "--json"]);
    let json = |output: &Output| -> serde_json::Value {
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(output)))
    };
    let (mut read, built_in) = (json(&read), json(&built_in));
    // The file shows the batcher that is used when none is given.
    read["plugins"] = built_in["plugins"].clone();
    assert_eq!(read, built_in);
}

#[test]
fn what_has_no_effect_is_a_warning_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hedged.toml");
    let text = format!(
        "[server]\ndata_dir = {:?}\n[[upstreams]]\nname = \"g\"\nhedge = {{ after_ms = 9 }}\n\
         servers = [{{ address = \"127.0.0.1:1\" }}, {{ address = \"127.0.0.1:2\" }}]\n\
         [[routes]]\nname = \"all\"\nupstream = \"g\"\nmethods = [\"POST\"]\n",
        dir.path().join("data")
    );
    fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();
    let output = run(&["check-config", "--config", path]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"no problems\n"[..]));
    let warning = "routes[0].upstream: the `hedge` of group `g` never applies here, since only GET";
    let told = said(&output);
    assert!(told.starts_with("warning: ") && told.contains("hedged.toml:"), "{told}");
    assert!(told.contains(warning), "{told}");
    let output = run(&["check-config", "--json", "--config", path]);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(told["warnings"][0].as_str().unwrap().contains(warning), "{told}");
}
