//! No directive is dropped in silence: each changes the result, or is noted, or says what holds
//! anyway.

use super::*;
use crate::config::nginx::http::Conversion;
use crate::config::nginx::parse::{self, Directive};

/// Directives that say what holds here without them.
const HOLDS_ANYWAY: &[&str] = &[
    "keepalive_requests 1000",
    "keepalive_timeout 60s",
    "proxy_http_version 1.1",
    "proxy_set_header Upgrade $http_upgrade",
    "proxy_set_header Connection upgrade",
    "proxy_set_header Connection ",
    "proxy_set_header X-Real-IP $remote_addr",
    "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for",
    "proxy_set_header X-Forwarded-Proto $scheme",
    "proxy_send_timeout 60s",
    "proxy_read_timeout 60s",
    "proxy_cache off",
    "proxy_cache_background_update on",
    "proxy_next_upstream error timeout",
    "proxy_ssl_server_name on",
    "real_ip_recursive on",
    "ssl_protocols TLSv1.2 TLSv1.3",
];

const OTHERS: &str = "
user www; worker_processes 4; pcre_jit on; load_module modules/x.so; env TZ; invented on;
events { worker_connections 10; }
http {
  server_tokens off; charset utf-8; log_not_found off; open_file_cache max=10;
  underscores_in_headers on; ignore_invalid_headers off; merge_slashes off; msie_padding off;
  map $http_upgrade $connection_upgrade { default upgrade; }
  geo $near { default 0; }
  split_clients $remote_addr $half { 50% a; * b; }
  keepalive_timeout 30 40; keepalive_requests 5; send_timeout 9s; client_body_timeout 8s;
  reset_timedout_connection on; resolver 10.0.0.1; variables_hash_max_size 64;
  proxy_headers_hash_max_size 64; proxy_buffers 4 4k; proxy_temp_path /tmp;
  proxy_intercept_errors on;
  proxy_pass_header Server; proxy_ignore_headers Vary; proxy_method GET; proxy_redirect off;
  proxy_cookie_path / /x; proxy_store on; proxy_limit_rate 9; slice 1m; gunzip on; brotli on;
  set_real_ip_from 10.0.0.0/8; real_ip_header X-Real-IP; real_ip_recursive on;
  limit_rate 1k; limit_req_log_level warn; stub_status; dav_methods PUT; sub_filter a b;
  upstream u { server h:1; zone z 1m; ntlm; sticky cookie s; queue 5; keepalive 2; random two; }
  server { listen 127.0.0.1:80 reuseport; server_name s ~^x; satisfy any; error_page 404 /e;
    add_header X-Empty \"\"; proxy_set_header Connection close; client_max_body_size 3m;
    proxy_ssl_server_name on; proxy_next_upstream error timeout; mirror /m; auth_delay 1s;
    location / { proxy_pass http://u; root /x; try_files $uri /; expires 1h; access_log off;
      grpc_set_header a b; fastcgi_param a b; proxy_hide_header X-Powered-By; empty_gif;
      location /in/ { return 410; } }
    location /named/ { allow 10.0.0.1; proxy_pass http://u; alias /y; js_content a; } }
}
stream { server { listen 1; } }
mail { protocol imap; }
";

fn toml_of(directives: &[Directive], folder: &Path) -> String {
    let mut conversion = Conversion::new(folder.to_owned());
    conversion.main(directives);
    conversion.finish().toml()
}

/// The places of all directives, as indexes from the outermost level on.
fn places(directives: &[Directive], above: &[usize], found: &mut Vec<Vec<usize>>) {
    for (index, directive) in directives.iter().enumerate() {
        let place = [above, &[index]].concat();
        places(directive.inside(), &place, found);
        found.push(place);
    }
}

fn take(directives: &mut Vec<Directive>, place: &[usize]) -> Directive {
    match place {
        [last] => directives.remove(*last),
        [first, rest @ ..] => take(directives[*first].block.as_mut().unwrap(), rest),
        [] => panic!("no place"),
    }
}

/// The directives of `file` that neither change anything nor are noted, alone or by their block.
fn dropped(file: &Path) -> Vec<String> {
    let converted = convert(file).unwrap();
    let (directives, folder) = (parse::read(file).unwrap(), file.parent().unwrap());
    let (all, mut found, mut silent) = (converted.toml(), Vec::new(), Vec::new());
    places(&directives, &[], &mut found);
    let is_noted = |one: &Directive| {
        converted.notes.iter().chain(&converted.weaker).any(|note| {
            let name = note.directive.split(' ').next().unwrap();
            note.line == one.at.line && name == one.name
        })
    };
    for place in found {
        let is_inside_noted = (1..place.len()).any(|end| {
            let block = take(&mut directives.clone(), &place[..end]);
            let is_entered = ["http", "server", "location", "upstream"].contains(&&*block.name);
            !is_entered && is_noted(&block)
        });
        let mut others = directives.clone();
        let one = take(&mut others, &place);
        if !is_noted(&one) && !is_inside_noted && toml_of(&others, folder) == all {
            silent.push(format!("{} {}", one.name, one.arguments.join(" ")));
        }
    }
    silent.retain(|words| !HOLDS_ANYWAY.contains(&words.as_str()));
    silent
}

#[test]
fn no_directive_is_dropped_in_silence() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/nginx");
    assert_eq!(dropped(&golden.join("guide.conf")), [""; 0]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("nginx.conf");
    fs::write(&file, OTHERS).unwrap();
    assert_eq!(dropped(&file), [""; 0]);
    let mut noted: Vec<String> =
        convert(&file).unwrap().notes.into_iter().map(|note| note.directive).collect();
    noted.dedup();
    assert!(noted.len() >= 60, "{noted:#?}");
}
