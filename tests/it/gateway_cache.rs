//! The cache of answers as the operator of the real binary sees it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::harness::{Server, trained_dir};

/// Answers every request of every connection, with the path as a tag.
fn answer(mut stream: TcpStream) {
    let mut head = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).is_ok_and(|count| count == 1) {
        head.push(byte[0]);
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let text = String::from_utf8(std::mem::take(&mut head)).unwrap();
        let path = text.split(' ').nth(1).unwrap();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncache-control: max-age=600\r\n\
             cache-tag: all, {}\r\n\r\nhi",
            path.trim_start_matches('/')
        );
        stream.write_all(answer.as_bytes()).unwrap();
    }
}

/// Ends the wait for connections, also where the test fails.
struct Ending<'a>(&'a AtomicBool, SocketAddr);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.1);
    }
}

#[test]
fn answers_are_removed_at_an_operators_wish() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = upstream.local_addr().unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let over = &over;
        scope.spawn(move || {
            while let Ok((stream, _)) = upstream.accept() {
                if over.load(Ordering::Acquire) {
                    return;
                }
                scope.spawn(move || answer(stream));
            }
        });
        let _ending = Ending(over, address);
        purge_in_front_of(address);
    });
}

fn purge_in_front_of(address: SocketAddr) {
    let dir = trained_dir();
    let config = format!(
        "[cache]\nmemory_mib = 8\n[[routes]]\nname = \"up\"\nupstream = \"g\"\ncache = true\n\
         [[upstreams]]\nname = \"g\"\nservers = [{{ address = \"{address}\" }}]\n"
    );
    let server = Server::start_configured(dir.path(), &config);
    let host = server.public.trim_start_matches("http://");
    let fill = || {
        for path in ["/a", "/a/b?c", "/d"] {
            assert_eq!(server.get(path).status, 200);
        }
        assert_eq!(server.admin_get("/admin/v1/cache").body["keys"], 3);
    };
    let purge = |body| server.admin_post("/admin/v1/cache/purge", &body);
    for (body, removed) in [
        (json!({ "key": format!("http://{host}/a/b?c") }), 1),
        (json!({ "key": format!("{host}/none") }), 0),
        (json!({ "prefix": format!("{host}/a") }), 2),
        (json!({ "tag": "d" }), 1),
        (json!({ "tag": "all" }), 3),
        (json!({ "all": true }), 3),
    ] {
        fill();
        let answer = purge(body.clone());
        assert_eq!((answer.status, &answer.body["removed"]), (200, &json!(removed)), "{body}");
    }
    for bad in [json!({}), json!({ "all": false }), json!({ "key": "" }), json!({ "key": 1 })] {
        assert_eq!(purge(bad.clone()).status, 400, "{bad}");
    }
    assert!(server.terminate().success());
}
