//! The server is killed while it trains: the job goes on by itself at the next start and ends with
//! the bits of one that nobody disturbed.

use super::rig::{create, events, fill, job, sha256, spec, start, wait};

#[test]
fn a_job_that_is_killed_ends_with_the_same_bits() {
    let is_long = std::env::var_os("TRUSTSTRAM_SOAK").is_some();
    // Far more epochs than the kills need: a job that ended first would have nothing to be killed.
    let (kills, epochs) = if is_long { (60, 1_200) } else { (4, 200) };
    let dir = tempfile::tempdir().unwrap();
    let mut server = start(dir.path(), "");
    fill(&server, 600);
    let whole = wait(&server, create(&server, &spec(epochs)));
    assert_eq!((&whole["state"], &whole["starts"]), (&"done".into(), &1.into()), "{whole}");
    let id = create(&server, &spec(epochs));
    for kill in 0..kills {
        // How far it gets before a kill differs by a fixed rule; at times it is not even begun.
        let wanted = (kill * 7) % 4;
        let written = |(name, _): &(String, _)| name == "checkpoint";
        if wanted > 0 {
            assert!(events(&server, id).filter(written).nth(wanted - 1).is_some());
        }
        server.kill();
        server = start(dir.path(), "");
    }
    let killed = wait(&server, id);
    assert_eq!(killed["state"], "done", "{killed}");
    assert!(killed["starts"].as_u64().unwrap() > 1, "{killed}");
    assert_eq!(whole["result"]["version"], 1);
    assert_eq!(killed["result"]["version"], 2);
    assert_eq!(killed["result"]["steps"], whole["result"]["steps"]);
    assert_eq!(sha256(&server, 1), sha256(&server, 2));
    assert!(!dir.path().join(format!("training/{id}/checkpoint")).exists());
    assert_eq!(job(&server, 1)["result"], whole["result"], "it is known after kills");
    assert!(server.terminate().success());
}

#[test]
fn a_server_that_ends_leaves_a_checkpoint_and_goes_on_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path(), "");
    fill(&server, 600);
    let id = create(&server, &spec(2_000));
    let running = events(&server, id);
    // Nobody who watches holds the end up.
    let mut running = running.skip_while(|(name, _)| name != "step" && name != "epoch");
    assert!(running.next().is_some());
    assert!(server.terminate().success());
    assert!(dir.path().join(format!("training/{id}/checkpoint")).exists());
    let server = start(dir.path(), "");
    let (_, first) =
        events(&server, id).find(|(name, _)| name == "step" || name == "epoch").unwrap();
    assert!(first["step"].as_u64().unwrap() > 1, "{first}");
    assert_eq!(job(&server, id)["starts"], 2);
}
