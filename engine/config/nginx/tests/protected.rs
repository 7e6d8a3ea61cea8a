//! What keeps somebody out stays out, or the conversion says that it cannot.

use super::*;

/// What was left out although it protects, as `LINE NAME`.
fn weaker(converted: &Converted) -> Vec<String> {
    let name = |words: &str| words.split(' ').next().unwrap().to_owned();
    let weaker = converted.weaker.iter();
    weaker.map(|note| format!("{} {}", note.line, name(&note.directive))).collect()
}

#[test]
fn clients_without_certificates_are_not_let_in_silently() {
    let server =
        |rest: &str| format!("server {{ listen 443 ssl; server_name s; return 204;\n{rest} }}");
    let ca = "ssl_client_certificate ca.pem;";
    let without = in_http(&server("ssl_verify_client on;"));
    assert_eq!(weaker(&without), ["3 ssl_verify_client"]);
    let with = in_http(&format!("{ca} {}", server("ssl_verify_client on;")));
    assert!(with.raw.gateway.tls_client_ca.ends_with("/ca.pem"));
    assert_eq!((weaker(&with), lines(&with)), (Vec::new(), Vec::new()));
    let one = server(&format!("ssl_verify_client on; {ca}"));
    let other = "server { listen 443 ssl; server_name t; return 204; }";
    let mixed = in_http(&format!("{one} {other}"));
    assert_eq!(weaker(&mixed), ["3 ssl_verify_client"]);
    assert!(mixed.raw.gateway.tls_client_ca.is_empty());
    let both = in_http(&format!("{ca} ssl_verify_client on; {} {other}", server("")));
    assert!(both.raw.gateway.tls_client_ca.ends_with("/ca.pem"));
    let revoked = in_http(&server(&format!("ssl_verify_client on; {ca}\nssl_crl gone.pem;")));
    assert_eq!(weaker(&revoked), ["4 ssl_crl"]);
    let optional = in_http(&server(&format!("ssl_verify_client optional; {ca}")));
    assert_eq!(lines(&optional), ["3 ssl_verify_client", "3 ssl_client_certificate"]);
    assert!(optional.raw.gateway.tls_client_ca.is_empty() && optional.weaker.is_empty());
}

#[test]
fn locations_whose_protection_has_no_counterpart_are_closed() {
    let all = in_http(
        "server { listen 127.0.0.1:80; server_name s; auth_basic area;
         location / { auth_basic off; proxy_pass http://h; }
         location /auth/ { proxy_pass http://h; }
         location /none/ { auth_basic off; deny all; proxy_pass http://h; }
         location /some/ { auth_basic off; allow 10.0.0.0/8; deny all; proxy_pass http://h; }
         location /all/ { auth_basic off; allow all; deny all; proxy_pass http://h; }
         location /in/ { auth_basic off; internal; proxy_pass http://h; }
         location /get/ { auth_basic off; limit_except GET { deny all; } proxy_pass http://h; } }",
    );
    let status = |name| route(&all, name).status;
    assert_eq!(
        ["s /", "s /auth/", "s /none/", "s /some/", "s /all/", "s /in/"].map(status),
        [None, Some(403), Some(403), Some(403), None, Some(404)]
    );
    assert_eq!(route(&all, "s /get/").methods, ["GET"]);
    let other = route(&all, "s /get/ except");
    assert_eq!((other.path.as_deref(), other.status), (Some("/get/"), Some(403)));
    assert_eq!(lines(&all), ["2 auth_basic", "6 allow", "6 deny", "8 internal"]);
    assert!(all.weaker.is_empty());
}

#[test]
fn what_cannot_be_closed_is_refused() {
    let all = in_http(
        "server { listen 127.0.0.1:80; server_name s;
         if ($bad) { return 403; }
         if ($odd) { set $x y; }
         location ~ /\\.(?!well-known) { deny all; }
         location ~ /x(?=y) { proxy_pass http://h; }
         location @named { proxy_pass http://h; }
         location /a/ { proxy_pass http://h;
         location ~ \\.php$ { deny all; }
         location /a/b { return 404; } } }",
    );
    assert_eq!(weaker(&all), ["3 if", "5 location", "9 location"]);
    assert_eq!(
        lines(&all),
        ["2 server", "4 if", "5 location", "6 location", "7 location", "10 location"]
    );
    let why = &all.notes[3].why;
    assert!(why.ends_with("; its requests go where the other locations send them"), "{why}");
    assert_eq!(route(&all, "s /a/b").status, Some(404));
}
