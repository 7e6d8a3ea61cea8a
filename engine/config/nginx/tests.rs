//! Checks of the conversion, a family of directives each; what is converted is also judged by the
//! reader and by the plan.

mod cached;
mod dropped;
mod protected;

use std::fs;
use std::path::Path;

use truststram_machine::Topology;

use super::{Converted, convert};
use crate::config::raw::{Route, RouteScheme, UpstreamPolicy, UpstreamProtocol};
use crate::config::{plan, read};

fn converted(text: &str) -> Converted {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("nginx.conf");
    fs::write(&file, text).unwrap();
    let converted = convert(&file).unwrap();
    accept(&converted, dir.path());
    converted
}

/// What is written is read back as the same, and means something. Certificates are elsewhere.
fn accept(converted: &Converted, dir: &Path) {
    let file = dir.join("out.toml");
    fs::write(&file, converted.toml()).unwrap();
    let mut located = read::read(&file).unwrap();
    assert_eq!(located.raw, converted.raw);
    located.raw.gateway.tls_listen = String::new();
    located.raw.server.data_dir = dir.join("data").display().to_string();
    plan::resolve(&located, false, Topology::of_host().unwrap()).unwrap();
}

fn in_http(text: &str) -> Converted {
    converted(&format!("http {{\n{text}\n}}\n"))
}

/// The notes as `LINE NAME`.
fn lines(converted: &Converted) -> Vec<String> {
    let name = |words: &str| words.split(' ').next().unwrap().to_owned();
    converted.notes.iter().map(|note| format!("{} {}", note.line, name(&note.directive))).collect()
}

fn route<'a>(converted: &'a Converted, name: &str) -> &'a Route {
    let mut routes = converted.raw.routes.iter();
    routes.find(|route| route.name == name).unwrap_or_else(|| panic!("{:?}", converted.raw.routes))
}

fn failed(text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("nginx.conf");
    fs::write(&file, text).unwrap();
    let error = convert(&file).unwrap_err();
    let name = Path::new(&error.file).file_name().unwrap().to_string_lossy();
    format!("{name}:{}: {}", error.line, error.message)
}

#[test]
fn the_guide_is_converted() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/nginx/guide.conf");
    let converted = convert(&file).unwrap();
    let dir = tempfile::tempdir().unwrap();
    accept(&converted, dir.path());
    let notes: String = converted
        .notes
        .iter()
        .map(|note| format!("{}: {}: {}\n", note.line, note.directive, note.why))
        .collect();
    let folder = file.parent().unwrap();
    if std::env::var_os("TRUSTSTRAM_GOLDEN").is_some() {
        fs::write(folder.join("guide.toml"), converted.toml()).unwrap();
        fs::write(folder.join("guide.notes"), &notes).unwrap();
    }
    assert_eq!(converted.toml(), fs::read_to_string(folder.join("guide.toml")).unwrap());
    assert_eq!(notes, fs::read_to_string(folder.join("guide.notes")).unwrap());
}

#[test]
fn texts_that_are_no_configuration_are_refused_with_their_line() {
    for (text, expected) in [
        ("user a;\nhttp {", "nginx.conf:2: the file ends inside a block"),
        ("}\n", "nginx.conf:1: `}` closes nothing"),
        ("a\n\nb", "nginx.conf:3: `a` does not end with `;`"),
        ("a {\n b }\n", "nginx.conf:2: `b` does not end with `;`"),
        ("\n;", "nginx.conf:2: a directive must begin with its name"),
        ("a 'b", "nginx.conf:1: a quoted text does not end"),
        ("a 'b'c;", "nginx.conf:1: unexpected `c` after a quoted text"),
        (
            "\ninclude nginx.conf;",
            "nginx.conf:2: more than 16 levels of includes, 256 files or 4 MiB",
        ),
        (
            "include a?.conf;",
            "nginx.conf:1: `a?.conf`: only `*` in the name of the file is \
             understood",
        ),
    ] {
        assert_eq!(failed(text), expected, "{text}");
    }
    assert!(failed("a;\ninclude missing;").starts_with("nginx.conf:2: cannot read "));
    assert!(failed(&"a {".repeat(30)).contains("more than 16 levels of blocks"));
}

#[test]
fn included_files_are_read_in_the_order_of_their_names() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("sites")).unwrap();
    for (name, port) in [("b.conf", 81), ("a.conf", 80), ("c.other", 82)] {
        let text = format!("# {name}\nupstream u{port} {{ server 'h':{port} odd; }}");
        fs::write(dir.path().join("sites").join(name), text.replace("'h'", "h")).unwrap();
    }
    let file = dir.path().join("nginx.conf");
    fs::write(&file, "http { include none/*.conf; include sites/*.conf; }").unwrap();
    let converted = convert(&file).unwrap();
    let names: Vec<_> = converted.raw.upstreams.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["u80", "u81"]);
    assert!(converted.notes[0].file.ends_with("a.conf"));
    assert_eq!(converted.notes[0].line, 2);
}

#[test]
fn nothing_is_dropped_silently() {
    let converted = converted(
        "user a;\nevents { x y; }\nfoo bar;\nhttp {\nsendfile on;\ngunzip on;\n}\n\
         stream { a b; }\n",
    );
    assert_eq!(
        lines(&converted),
        ["1 user", "2 events", "3 foo", "5 sendfile", "6 gunzip", "8 stream"]
    );
    assert_eq!(converted.notes[2].why, "is not known to the converter here");
}

#[test]
fn groups_are_converted() {
    let all = in_http(
        "upstream a { least_conn; keepalive 32; keepalive_timeout 30s;
         server 10.0.0.1 weight=3 max_fails=2 fail_timeout=1m;
         server [::1]:81 backup; server c:82 down max_conns=5; }
         upstream b { hash $http_x_user consistent; server b1; server unix:/tmp/s; }
         upstream c { ip_hash; server c1; }
         upstream d { hash $request_uri; server d1; }",
    );
    let [a, b, c, d] = all.raw.upstreams.as_slice() else { panic!() };
    assert_eq!((a.policy, a.keepalive_s, a.retries), (UpstreamPolicy::LeastConn, 30, 2));
    let first = &a.servers[0];
    assert_eq!((first.weight, first.max_fails, first.fail_timeout_s), (3, 2, 60));
    let addresses: Vec<_> = a.servers.iter().map(|server| server.address.as_str()).collect();
    assert_eq!(addresses, ["10.0.0.1:80", "[::1]:81", "c:82"]);
    assert!(a.servers[1].backup && a.servers[2].drain);
    assert_eq!((b.policy, b.hash_key.as_str()), (UpstreamPolicy::Hash, "header:x-user"));
    assert_eq!((c.policy, c.hash_key.as_str()), (UpstreamPolicy::Hash, "ip"));
    assert_eq!(d.policy, UpstreamPolicy::RoundRobin);
    assert_eq!(all.raw.gateway.upstream_idle_max, 32);
    assert_eq!(lines(&all), ["4 server", "5 server", "6 ip_hash", "7 hash"]);
}

#[test]
fn servers_become_hosts_and_schemes() {
    let all = in_http(
        "server { listen 80; server_name a.test;
         location / {return 301 https://$host$request_uri;} }
         server { listen 443 ssl http2; server_name a.test .b.test; ssl_certificate a.pem;
         ssl_certificate_key a.key; ssl_protocols TLSv1.3; ssl_session_tickets off; ssl_ciphers x;
         location / { return 200 'hi'; } }
         server { listen 443 ssl; server_name ~^c; return 404; }
         server { listen 8443 ssl; server_name d.test; return 404; }",
    );
    let gateway = &all.raw.gateway;
    assert_eq!(
        (all.raw.server.listen.as_str(), gateway.tls_listen.as_str()),
        ("127.0.0.1:80", "0.0.0.0:443")
    );
    assert!(gateway.certificates[0].chain.ends_with("/a.pem"));
    assert_eq!((gateway.tls_min.as_str(), gateway.tls_tickets), ("1.3", false));
    let [plain, tls] = all.raw.routes.as_slice() else { panic!("{:?}", all.raw.routes) };
    assert_eq!((plain.scheme, plain.status), (Some(RouteScheme::Http), Some(301)));
    assert_eq!(plain.redirect.as_deref(), Some("https://$host$request_uri"));
    assert_eq!((tls.scheme, tls.body.as_deref()), (Some(RouteScheme::Https), Some("hi")));
    assert!(tls.hosts.is_empty(), "the first server of an address takes all other hosts");
    assert_eq!(
        lines(&all),
        ["2 listen", "5 ssl_ciphers", "7 server_name", "7 server", "8 listen", "8 server"]
    );
}

#[test]
fn locations_become_paths() {
    let all = in_http(
        "upstream b { server h:1; }
         server { listen 127.0.0.1:80; server_name s;
         location = /e { proxy_pass http://b/x; }
         location /p/ { proxy_pass http://b/; }
         location /q/ { proxy_pass http://b/v2/; }
         location ^~ /f.d/ { proxy_pass http://b; }
         location ~ ^/r(?=x) { proxy_pass http://b; }
         location ~* \\.png$ { proxy_pass http://b; }
         location /t/ { proxy_pass https://t.test:444; rewrite ^/t/(.*)$ /u/$1_a break; }
         location /s/ { root /srv; }
         location /g { return 444; } }",
    );
    assert_eq!(route(&all, "s = /e").rewrite_to.as_deref(), Some("/x"));
    assert!(route(&all, "s /p/").strip_prefix);
    assert_eq!(route(&all, "s /q/").replace_prefix.as_deref(), Some("/v2/"));
    assert_eq!(all.raw.routes[0].path_regex.as_deref(), Some("^/f\\.d/"));
    assert_eq!(route(&all, "s ~* \\.png$").path_regex.as_deref(), Some("(?i)\\.png$"));
    let rewritten = route(&all, "s /t/");
    assert_eq!(rewritten.rewrite_to.as_deref(), Some("/u/${1}_a"));
    let group = all.raw.upstreams.iter().find(|one| Some(&one.name) == rewritten.upstream.as_ref());
    let group = group.unwrap();
    assert_eq!(
        (group.protocol, group.servers[0].address.as_str()),
        (UpstreamProtocol::Tls, "t.test:444")
    );
    assert_eq!((group.tls_name.as_deref(), group.tls_verify), (Some("t.test"), false));
    assert_eq!(route(&all, "s /s/").status, Some(404));
    assert_eq!(route(&all, "s /").status, Some(404));
    let expected = [
        "3 server",
        "7 location",
        "8 location",
        "11 location",
        "11 root",
        "12 location",
        "12 return",
    ];
    let mut found = lines(&all);
    found.sort_by_key(|line| {
        (line.split(' ').next().unwrap().parse::<u32>().unwrap(), line.clone())
    });
    assert_eq!(found, expected);
}

#[test]
fn headers_and_times_are_inherited_as_in_nginx() {
    let all = in_http(
        "proxy_set_header X-A $remote_addr; add_header X-B b always; proxy_read_timeout 1m;
         client_max_body_size 2m; access_log /var/log/a.log;
         server { listen 127.0.0.1:80; server_name s;
         location / { proxy_pass http://h:1; }
         location /n/ { proxy_set_header Host $host; proxy_set_header X-C ''; access_log off;
         proxy_set_header X-D $http_cookie; add_header X-E ${server_name}-e; proxy_pass http://h:1;
         proxy_connect_timeout 500ms; client_max_body_size 1k; proxy_next_upstream off; } }",
    );
    let outer = route(&all, "s /");
    assert_eq!(outer.request_headers.set["x-a"], "$remote_addr");
    assert_eq!(outer.request_headers.set["host"], "h:1");
    assert_eq!(outer.response_headers.add["x-b"], "b");
    assert_eq!((outer.read_timeout_ms, outer.connect_timeout_ms), (60_000, 60_000));
    let inner = route(&all, "s /n/");
    assert_eq!(inner.request_headers.set, [("host".to_owned(), "$host".to_owned())].into());
    assert_eq!(inner.request_headers.remove, ["x-c"]);
    assert_eq!(inner.response_headers.add["x-e"], "s-e");
    assert_eq!(
        (inner.connect_timeout_ms, inner.body_bytes_max, inner.access_log),
        (500, 1_024, false)
    );
    assert_eq!(all.raw.gateway.body_bytes_max, 2 << 20);
    assert_eq!(all.raw.gateway.access_log, "/var/log/a.log");
    assert_eq!(lines(&all), ["7 add_header", "7 proxy_set_header"]);
}

#[test]
fn limits_real_addresses_and_times_of_connections_are_converted() {
    let all = in_http(
        "limit_req_zone $binary_remote_addr zone=r:1m rate=5r/s;
         limit_req_zone $http_x_key$uri zone=k:512k rate=30r/m;
         limit_req_zone $cookie_a zone=z:1m rate=1r/s; limit_conn_zone $host zone=c:1m;
         limit_req zone=r burst=10 delay=5; limit_conn c 7; limit_req_status 429;
         set_real_ip_from 10.0.0.0/8; real_ip_header X-Real-IP; real_ip_recursive on;
         keepalive_timeout 30s; keepalive_requests 9; client_header_timeout 10s;
         server { listen 127.0.0.1:80; return 204; limit_req zone=k nodelay; limit_req zone=z; }",
    );
    let gateway = &all.raw.gateway;
    let keys: Vec<_> = all.raw.limits.iter().map(|zone| zone.key.as_str()).collect();
    assert_eq!(keys, ["ip", "header:x-key path", "host"]);
    // As in nginx `return` comes before limits.
    assert!(gateway.limit_requests.is_empty() && gateway.limit_in_flight.is_empty());
    assert!(all.raw.routes.iter().all(|route| route.limit_requests.is_empty()));
    assert_eq!(gateway.trusted_proxies, ["10.0.0.0/8"]);
    assert_eq!(gateway.real_ip_header, "x-real-ip");
    assert_eq!(
        (gateway.keepalive_s, gateway.keepalive_requests, gateway.head_timeout_s),
        (30, 9, 10)
    );
    assert_eq!(lines(&all), ["4 limit_req_zone", "8 limit_req"]);
}

/// The zones of rates that a route asks, and those of requests under way.
fn zones(route: &Route) -> Vec<String> {
    let rates = route.limit_requests.iter().map(|one| format!("{} {}", one.zone, one.burst));
    let places = route.limit_in_flight.iter().map(|one| format!("{} {}", one.zone, one.at_most));
    rates.chain(places).collect()
}

#[test]
fn limits_are_inherited_as_in_nginx() {
    let zones_of = "limit_req_zone $binary_remote_addr zone=a:1m rate=5r/s;
         limit_req_zone $binary_remote_addr zone=b:1m rate=5r/s;
         limit_conn_zone $binary_remote_addr zone=c:1m;";
    let all = in_http(&format!(
        "{zones_of} limit_req_status 429; limit_req zone=a burst=1; limit_conn c 7;
         server {{ listen 127.0.0.1:80; server_name s; location / {{ proxy_pass http://h; }}
         location /b/ {{ limit_req zone=b burst=2 nodelay; proxy_pass http://h;
         location /b/a/ {{ limit_req zone=a burst=3; proxy_pass http://h; }} }}
         location /r/ {{ return 204; }} }}"
    ));
    assert_eq!(zones(route(&all, "s /")), ["a 1", "c 7"]);
    assert_eq!(zones(route(&all, "s /b/")), ["b 2", "c 7"]);
    assert_eq!(zones(route(&all, "s /b/a/")), ["a 3", "c 7"]);
    assert_eq!(zones(route(&all, "s /r/")), [""; 0]);
    assert_eq!(all.raw.gateway.limit_status, 429);

    let all = in_http(&format!(
        "{zones_of} limit_conn c 7; server {{ listen 127.0.0.1:80; server_name s;
         limit_req zone=a burst=1 delay=1; location / {{ proxy_pass http://h; }}
         location /b/ {{ limit_req zone=b burst=2 nodelay; proxy_pass http://h; }} }}"
    ));
    // What holds for all stands once.
    assert_eq!(zones(route(&all, "s /")), ["a 1"]);
    assert_eq!(zones(route(&all, "s /b/")), ["b 2"]);
    assert_eq!(
        (all.raw.gateway.limit_in_flight[0].at_most, all.raw.gateway.limit_status),
        (7, 503)
    );
    assert!(all.raw.gateway.limit_requests.is_empty());
}

#[test]
fn formats_of_the_access_log_are_converted() {
    let all = in_http(
        "log_format main escape=json '{\"t\":\"$time_iso8601\",' '\"r\":\"${request}x\"}';
         log_format other '$status'; access_log /var/log/a.log main buffer=32k;
         server { listen 127.0.0.1:80; return 204; }",
    );
    let gateway = &all.raw.gateway;
    assert_eq!(gateway.access_log, "/var/log/a.log");
    assert_eq!(gateway.access_log_format, "{\"t\":\"$time_iso8601\",\"r\":\"${request}x\"}");
    assert_eq!((gateway.access_log_escape.as_str(), gateway.access_log_skip.len()), ("json", 0));
    assert_eq!(lines(&all), ["3 access_log", "3 log_format"]);
    let all = in_http("access_log a.log; server { listen 127.0.0.1:80; return 204; }");
    assert_eq!(all.raw.gateway.access_log_format, "combined");
    let unknown = in_http(
        "log_format m '$remote_addr $bytes_sent $bytes_sentx ${pipe}';
         access_log a.log m; server { listen 127.0.0.1:80; return 204; }",
    );
    assert_eq!(unknown.raw.gateway.access_log_format, "$remote_addr - - -");
    assert_eq!(unknown.notes.len(), 3);
}

#[test]
fn compression_is_converted() {
    let server = "server { listen 127.0.0.1:80; return 204; }";
    let all = in_http(&format!(
        "gzip on; gzip_types text/css; gzip_min_length 1k; gzip_comp_level 4; gzip_vary on;
         brotli on; gzip_proxied any; {server}"
    ));
    let compression = &all.raw.compression;
    assert_eq!(compression.encodings, ["gzip", "br"]);
    assert_eq!(compression.types, ["text/html", "text/css"]);
    assert_eq!((compression.bytes_min, compression.gzip_level), (1_024, 4));
    assert_eq!(lines(&all), ["3 gzip_proxied"]);
    let plain = in_http(&format!("gzip on; {server}")).raw.compression;
    assert_eq!((plain.types.len(), plain.bytes_min, plain.gzip_level), (1, 20, 1));
    assert!(in_http(&format!("gzip off; {server}")).raw.compression.encodings.is_empty());
}
