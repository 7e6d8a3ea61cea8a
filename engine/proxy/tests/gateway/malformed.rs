//! Requests that are wrong or odd: each is refused, or reaches the server behind as it was read.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::rig::{Rig, get, group, header, read_message, route, table, to};

/// Longer than anything here takes, shorter than what a client would be given.
const PATIENCE: Duration = Duration::from_secs(10);

struct Case {
    name: &'static str,
    expected: &'static str,
    bytes: Vec<u8>,
}

fn cases() -> Vec<Case> {
    let lines = include_str!("malformed.txt").lines();
    let is_case = |line: &&str| !line.is_empty() && !line.starts_with('#');
    let case = |line: &'static str| {
        let mut parts = line.splitn(3, " | ");
        let [name, expected, text] = [(); 3].map(|()| parts.next().unwrap());
        Case { name, expected, bytes: bytes(text) }
    };
    lines.filter(is_case).map(case).collect()
}

/// The bytes that a text with escapes stands for.
fn bytes(text: &str) -> Vec<u8> {
    let (mut found, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("{{") {
            found.push(b'{');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let (repeated, after) = after.split_once('}').unwrap();
            let (part, count) = repeated.rsplit_once('*').unwrap();
            found.extend(bytes(part).repeat(count.parse().unwrap()));
            rest = after;
        } else if first == '\\' {
            let (byte, length) = match &rest[1..2] {
                "r" => (b'\r', 2),
                "n" => (b'\n', 2),
                "t" => (b'\t', 2),
                "0" => (0, 2),
                "x" => (u8::from_str_radix(&rest[2..4], 16).unwrap(), 4),
                itself => (itself.as_bytes()[0], 2),
            };
            found.push(byte);
            rest = &rest[length..];
        } else {
            found.push(u8::try_from(first).unwrap());
            rest = &rest[1..];
        }
    }
    found
}

/// A server that notes what it reads, to the end of each connection.
async fn recorder() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let noted = noted.clone();
            tokio::spawn(async move {
                while let Some((head, body)) = read_message(&mut stream).await {
                    let Some(told) = told(&head, &body) else { return };
                    noted.lock().unwrap().push(told);
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, seen)
}

/// One line for a whole request: method, target, host, body. A head with two framings says so.
fn told(head: &str, body: &str) -> Option<String> {
    let mut line = head.lines().next()?.split(' ');
    let (method, target) = (line.next()?, line.next()?);
    let lengths = head.lines().filter(|line| line.to_lowercase().starts_with("content-length"));
    let codings = head.lines().filter(|line| line.to_lowercase().starts_with("transfer-encoding"));
    let framings = lengths.count() + codings.count();
    let body = match header(head, "transfer-encoding") {
        None => {
            let length = header(head, "content-length").map_or(0, |text| text.parse().unwrap());
            if body.len() < length {
                return None;
            }
            body.to_owned()
        }
        Some("chunked") => {
            let (mut whole, mut rest) = (String::new(), body);
            loop {
                let (size, after) = rest.split_once("\r\n")?;
                let size = usize::from_str_radix(size, 16).unwrap();
                if size == 0 {
                    break whole;
                }
                whole.push_str(after.get(..size)?);
                rest = after.get(size..)?.strip_prefix("\r\n")?;
            }
        }
        Some(other) => format!("a coding {other}"),
    };
    let host = header(head, "host").unwrap_or_default();
    let framed = if framings > 1 { format!("{framings} framings ") } else { String::new() };
    Some(format!("{framed}{method} {target} @{host} {body}").trim_end().to_owned())
}

/// Sends the bytes and returns all that comes until the connection ends or an answer is whole.
async fn answered(address: SocketAddr, case: &Case) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The gateway may refuse and close before it has read everything.
    let sent = stream.write_all(&case.bytes).await;
    if case.expected == "closed" && sent.is_ok() {
        stream.shutdown().await.unwrap();
    }
    let mut read = Vec::new();
    let is_whole = |read: &[u8]| {
        let text = String::from_utf8_lossy(read);
        let head = text.split_once("\r\n\r\n").map(|(head, body)| (head.to_owned(), body.len()));
        head.is_some_and(|(head, body)| {
            let length = header(&head, "content-length").and_then(|length| length.parse().ok());
            length.is_some_and(|length: usize| body >= length)
        })
    };
    let reading = async {
        while !is_whole(&read) {
            match stream.read_buf(&mut read).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, reading).await;
    assert!(in_time.is_ok(), "{}: nothing came of it", case.name);
    String::from_utf8_lossy(&read).into_owned()
}

#[tokio::test]
async fn what_is_malformed_is_never_forwarded() {
    let (upstream, seen) = recorder().await;
    let rig = Rig::start(&table(vec![route("all", "/", to("g"))], vec![group("g", &[upstream])]));
    let cases = cases();
    assert!(cases.len() >= 150, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let answer = answered(rig.plain, case).await;
        let status: Option<u16> = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        // What was read of the request must not be taken for another one.
        let answers = answer.matches("HTTP/1.").count();
        let forwarded = std::mem::take(&mut *seen.lock().unwrap());
        let holds = match case.expected {
            "refused" => {
                forwarded.is_empty()
                    && status.is_none_or(|status| matches!(status, 400..=499 | 501 | 505))
            }
            "closed" => forwarded.is_empty() && status != Some(200),
            expected => match expected.strip_prefix("forwarded ") {
                Some(expected) => forwarded == [expected] && status == Some(200),
                None => forwarded.is_empty() && status == expected.parse().ok(),
            },
        };
        if !holds || answers > 1 {
            let answer = answer.lines().next().unwrap_or("a close");
            let mut told = format!("{}: {answer}; forwarded {forwarded:?}", case.name);
            told.truncate(200);
            wrong.push(told);
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    // The gateway is as well as before.
    let fine = Case { name: "fine", expected: "", bytes: get("/fine").into_bytes() };
    assert!(answered(rig.plain, &fine).await.starts_with("HTTP/1.1 200"));
    assert_eq!(*seen.lock().unwrap(), ["GET /fine @a.test"]);
    rig.stop();
}
