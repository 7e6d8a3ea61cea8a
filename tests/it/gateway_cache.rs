//! The cache of answers as the operator of the real binary sees it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

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

#[test]
fn answers_are_removed_at_an_operators_wish() {
    let dir = trained_dir();
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = upstream.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = upstream.accept() {
            std::thread::spawn(move || answer(stream));
        }
    });
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
