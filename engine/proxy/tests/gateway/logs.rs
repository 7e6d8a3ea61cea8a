//! Lines of the access log, for real requests, and beside those that nginx writes for the same.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use truststram_proxy::{AccessSpec, ActionSpec, COMBINED, Escape, FormatSpec, TableSpec};

use crate::rig::*;

const NGINX: &str = "/usr/sbin/nginx";

fn logging(text: &str, spec: TableSpec) -> TableSpec {
    let format = FormatSpec::Template { text: text.to_owned(), escape: Escape::Hex };
    TableSpec { access: AccessSpec { format, skip: vec!["/health".to_owned()] }, ..spec }
}

/// The lines that a gateway with `spec` writes for `requests`.
async fn lines_of(spec: &TableSpec, requests: &[&str]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let log = log_at(&path);
    let mut options = options();
    options.access_log = Some(log.clone());
    let rig = Rig::start_behind(spec, options, &With { is_logged: true, ..With::default() });
    for request in requests {
        let mut stream = TcpStream::connect(rig.plain).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    }
    rig.stop();
    log.close().unwrap();
    std::fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn paths_that_are_skipped_and_attempts_upstream() {
    let (good, dead) = (server("one", Manner::Echo).await, nobody().await);
    let spec = table(vec![route("all", "/", to("g"))], vec![group("g", &[dead, good])]);
    let text = "$status $upstream_addr $upstream_status $route $request_uri";
    let request =
        |path: &str| format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    let [one, health, other] = ["/x/../y", "/health", "/health/"].map(request);
    let lines = lines_of(&logging(text, spec), &[&one, &health, &other]).await;
    let tried = format!("{dead}, {good} 502, 200 all /x/../y");
    let [first, second] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!(*first, format!("200 {tried}"));
    assert_eq!(*second, format!("200 {good} 200 all /health/"));
}

struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The lines that nginx writes for `requests`, which are all answered `hi`.
async fn lines_of_nginx(requests: &[&str]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    // Behind a socket in the file system it says `unix:` where an address stands.
    let configuration = "daemon off; master_process off; pid nginx.pid; error_log error.log;
        events { worker_connections 16; }
        http { client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3;
        uwsgi_temp_path t4; scgi_temp_path t5;
        server { listen unix:socket; access_log access.log combined; return 200 hi; } }";
    std::fs::write(dir.path().join("nginx.conf"), configuration).unwrap();
    let mut command = Command::new(NGINX);
    command.args(["-c", "nginx.conf", "-e", "error.log", "-p"]).arg(dir.path());
    command.current_dir(dir.path()).stdin(Stdio::null()).stderr(Stdio::null());
    let mut nginx = Nginx(command.spawn().unwrap());
    for request in requests {
        let mut stream = loop {
            match UnixStream::connect(dir.path().join("socket")).await {
                Ok(stream) => break stream,
                Err(_) => assert!(nginx.0.try_wait().unwrap().is_none(), "nginx has ended"),
            }
            tokio::task::yield_now().await;
        };
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    }
    let path = dir.path().join("access.log");
    let mut lines = Vec::new();
    while lines.len() < requests.len() {
        let text = std::fs::read_to_string(&path).unwrap();
        lines = text.lines().map(|line| line.replace("unix:", "127.0.0.1")).collect();
        tokio::task::yield_now().await;
    }
    lines
}

/// A line without its time.
fn timeless(line: &str) -> String {
    let (before, after) = (line.split_once('[').unwrap().0, line.split_once(']').unwrap().1);
    format!("{before}[]{after}")
}

#[tokio::test]
async fn combined_lines_are_those_of_nginx() {
    if !Path::new(NGINX).exists() {
        return;
    }
    let requests = [
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "GET /a%20b?c=%22d%22&e HTTP/1.1\r\nhost: a\r\nuser-agent: x \"y\" \\z\r\n\
         referer: http://b/\r\nconnection: close\r\n\r\n",
        "HEAD /h HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "GET /u HTTP/1.1\r\nhost: a\r\nuser-agent: caf\u{e9}\tx\r\nreferer:\r\n\
         authorization: Basic YW5uOng=\r\nconnection: close\r\n\r\n",
        "GET /x/./y/../z//w HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "GET /old HTTP/1.0\r\nhost: a\r\n\r\n",
        "DELETE /d HTTP/1.1\r\nhost: a\r\nauthorization: Basic !\r\nconnection: close\r\n\r\n",
    ];
    let fixed = ActionSpec::Answer { status: 200, body: "hi".to_owned() };
    let spec = logging(COMBINED, table(vec![route("all", "/", fixed)], Vec::new()));
    let ours = lines_of(&spec, &requests).await;
    let theirs = lines_of_nginx(&requests).await;
    assert_eq!(ours.len(), requests.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(timeless(ours), timeless(theirs));
    }
}
