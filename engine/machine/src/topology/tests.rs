//! Recorded sysfs trees as one table each: a line is a file below `devices/system` and its text.

use super::*;

fn tree(files: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for line in files.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (path, text) = line.split_once('=').unwrap();
        let path = root.path().join("devices/system").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{text}\n")).unwrap();
    }
    root
}

/// `expected` is one `id: cores, bytes` per node, or `None` for an error.
fn check(files: &str, allowed: &str, expected: Option<&[&str]>) {
    let root = tree(files);
    let read = Topology::read(root.path(), &allowed.parse().unwrap());
    let described: Option<Vec<String>> =
        read.ok().map(|topology| topology.nodes.iter().map(describe).collect());
    let expected = expected.map(|nodes| nodes.iter().map(ToString::to_string).collect());
    assert_eq!(described, expected, "allowed {allowed:?} of {files}");
}

fn describe(node: &Node) -> String {
    let cores: CpuSet = node.cores.iter().copied().collect();
    format!("{}: {cores}; {}", node.id, node.memory_bytes)
}

const ONE_NODE: &str = "
    cpu/online=0-1
    node/has_cpu=0
    node/possible=0
    node/node0/cpulist=0-1
    node/node0/meminfo=Node 0 MemTotal:       24592384 kB
";

const TWO_NODES: &str = "
    cpu/online=0-7
    node/node0/cpulist=0,2,4,6
    node/node0/meminfo=Node 0 MemTotal:  1024 kB
    node/node1/cpulist=1,3,5,7
    node/node1/meminfo=Node 1 MemTotal:  2048 kB
";

/// Ids 2, 5, 6 and 7 are taken by nothing; processors 24 to 31 are offline, so that node 9 lists
/// 32 up; node 10 is memory without processors.
const EIGHT_NODES: &str = "
    cpu/online=0-23,32-47
    node/online=0-1,3-4,8-11
    node/node0/cpulist=0-3,64-67
    node/node1/cpulist=4-7
    node/node3/cpulist=8-11
    node/node4/cpulist=12-15
    node/node8/cpulist=16-23
    node/node9/cpulist=32-39
    node/node10/cpulist=
    node/node10/meminfo=Node 10 MemTotal: 4096 kB
    node/node11/cpulist=40-47
";

#[test]
fn one_and_two_nodes() {
    check(ONE_NODE, "0-1", Some(&["0: 0-1; 25182601216"]));
    check(ONE_NODE, "1", Some(&["0: 1; 25182601216"]));
    check(TWO_NODES, "0-7", Some(&["0: 0,2,4,6; 1048576", "1: 1,3,5,7; 2097152"]));
    check(TWO_NODES, "2-3,5", Some(&["0: 2; 1048576", "1: 3,5; 2097152"]));
    check(TWO_NODES, "1,3", Some(&["0: ; 1048576", "1: 1,3; 2097152"]));
}

#[test]
fn eight_nodes_with_holes_offline_processors_and_a_memory_only_node() {
    let all = [
        "0: 0-3,64-67; 0",
        "1: 4-7; 0",
        "3: 8-11; 0",
        "4: 12-15; 0",
        "8: 16-23; 0",
        "9: 32-39; 0",
        "10: ; 4194304",
        "11: 40-47; 0",
    ];
    check(EIGHT_NODES, "0-127", Some(&all));
    let cpuset = [
        "0: ; 0",
        "1: 6-7; 0",
        "3: 8; 0",
        "4: ; 0",
        "8: ; 0",
        "9: 36; 0",
        "10: ; 4194304",
        "11: ; 0",
    ];
    check(EIGHT_NODES, "6-8,24-25,36", Some(&cpuset));
}

#[test]
fn kernels_without_numa_and_sandboxes() {
    check("cpu/online=0-3", "0-7", Some(&["0: 0-3; 0"]));
    check("", "4-5", Some(&["0: 4-5; 0"]));
    check("cpu/online=0-3", "4-5", None);
    check("cpu/online=0-3", "", None);
    check(ONE_NODE, "", None);
    // The affinity mask names an online processor that no node lists.
    check("cpu/online=0-3 \n node/node1/cpulist=0-1", "0-2", Some(&["1: 0-2; 0"]));
    check("node/node0/cpulist=nonsense", "0", None);
    check("node/node0/meminfo=Node 0 MemTotal: many kB", "0", Some(&["0: 0; 0"]));
}

#[test]
fn cores_know_their_node() {
    let root = tree(TWO_NODES);
    let topology = Topology::read(root.path(), &"0-5".parse().unwrap()).unwrap();
    assert_eq!(topology.cores(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(topology.node_of_core(4), Some(0));
    assert_eq!(topology.node_of_core(5), Some(1));
    assert_eq!(topology.node_of_core(6), None);
}

#[test]
fn the_host_has_the_cores_of_the_affinity_mask() {
    let allowed = system_calls::affinity().unwrap();
    let cores: CpuSet = Topology::of_host().unwrap().cores().into_iter().collect();
    assert_eq!(cores.to_string(), allowed.to_string());
}
