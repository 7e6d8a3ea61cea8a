//! Owns `location` blocks: one route for each.
//!
//! Refuses to leave out a location that nothing could be made of: it is answered 404, so that no
//! other one takes its requests. Bound: one route for each location.

use truststram_proxy::{
    ActionSpec, EditSpec, PathSpec, RewriteSpec, RouteSpec, TableSpec, Timeouts,
};

use super::http::Conversion;
use super::parse::Directive;
use super::proxy::{Scope, template};
use crate::config::raw::Route;

/// What a location's pattern is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Exact,
    Prefix,
    Regex,
}

impl Conversion {
    /// The routes of a server; `answer` is its own `return`, which comes before all locations.
    pub(super) fn locations(
        &mut self,
        server: &Directive,
        scope: &Scope,
        locations: &[&Directive],
        answer: Option<&Directive>,
    ) -> Vec<Route> {
        let prefix = if scope.server_name.is_empty() { "server" } else { &scope.server_name };
        if let Some(answer) = answer {
            for location in locations {
                self.note(location, "the server's `return` answers before it");
            }
            let mut route = Route { name: format!("{prefix} /"), ..Route::default() };
            self.apply(scope, &mut route, None);
            self.answer(scope, &mut route, answer);
            return vec![route];
        }
        let has_regexes = locations.iter().any(|one| one.argument(0).starts_with('~'));
        let mut routes = Vec::new();
        // Expressions are tried in their order, those for `^~` before all others.
        let is_early = |one: &&&Directive| one.argument(0) == "^~";
        let early = locations.iter().filter(is_early);
        for location in early.chain(locations.iter().filter(|one| !is_early(one))) {
            let name = format!("{prefix} {}", location.arguments.join(" "));
            routes.extend(self.location(location, scope, &name, has_regexes));
        }
        if !routes.iter().any(|route| route.path.as_deref() == Some("/")) {
            let mut route = Route { name: format!("{prefix} /"), ..Route::default() };
            route.path = Some("/".to_owned());
            route.status = Some(404);
            self.apply(scope, &mut route, None);
            routes.push(route);
            self.note(server, "has no `location /`: what no location takes is answered 404");
        }
        routes
    }

    fn location(
        &mut self,
        block: &Directive,
        outer: &Scope,
        name: &str,
        has_regexes: bool,
    ) -> Option<Route> {
        let mut route = Route { name: name.to_owned(), ..Route::default() };
        let kind = self.pattern(block, &mut route, has_regexes)?;
        let mut scope = outer.child();
        let (mut pass, mut answer, mut rewrite) = (None, None, None);
        for directive in block.inside() {
            match directive.name.as_str() {
                "proxy_pass" => pass = Some(directive),
                "return" if answer.is_none() => answer = Some(directive),
                "rewrite" if rewrite.is_none() => rewrite = Some(directive),
                "limit_req" | "limit_conn" => {
                    let why = "limits stand before the routes; those of one location have no \
                               counterpart";
                    self.note(directive, why);
                }
                "location" => self.note(directive, "locations in locations have no counterpart"),
                _ if self.setting(&mut scope, directive) => {}
                _ => self.unknown(directive),
            }
        }
        match (answer, pass) {
            (Some(answer), pass) => {
                self.apply(&scope, &mut route, None);
                self.answer(&scope, &mut route, answer);
                for other in [pass, rewrite].into_iter().flatten() {
                    self.note(other, "`return` answers");
                }
            }
            (None, Some(pass)) => self.pass(&scope, &mut route, kind, pass, rewrite),
            (None, None) => {
                self.apply(&scope, &mut route, None);
                if !rewrite.is_some_and(|rewrite| self.redirect(&scope, &mut route, rewrite)) {
                    route.status = Some(404);
                    self.note(block, "has no answer that could be converted: it is answered 404");
                }
            }
        }
        Some(route)
    }

    fn pattern(&mut self, block: &Directive, route: &mut Route, regexes: bool) -> Option<Kind> {
        let (sign, text) = match block.arguments.as_slice() {
            [sign, text] => (sign.as_str(), text.as_str()),
            [text] => ("", text.as_str()),
            _ => ("", "@"),
        };
        let is_path = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
        match sign {
            "=" if is_path => {
                route.path_exact = Some(text.to_owned());
                Some(Kind::Exact)
            }
            "~" | "~*" => {
                let pattern = if sign == "~" { text.to_owned() } else { format!("(?i){text}") };
                if let Err(why) = check_expression(&pattern) {
                    self.note(block, why);
                    return None;
                }
                route.path_regex = Some(pattern);
                Some(Kind::Regex)
            }
            "^~" if is_path && regexes => {
                route.path_regex = Some(format!("^{}", escaped(text)));
                self.note(block, "comes before longer prefixes without `^~` as well");
                Some(Kind::Regex)
            }
            "" | "^~" if is_path => {
                route.path = Some(text.to_owned());
                if !text.ends_with('/') {
                    let why = format!("takes `{text}` and what is below it, not `{text}x`");
                    self.note(block, why);
                }
                Some(Kind::Prefix)
            }
            _ => {
                self.note(block, "is not a path or an expression for paths");
                None
            }
        }
    }

    fn pass(
        &mut self,
        scope: &Scope,
        route: &mut Route,
        kind: Kind,
        pass: &Directive,
        rewrite: Option<&Directive>,
    ) {
        let target = pass.argument(0);
        let (is_tls, rest) = match (target.strip_prefix("http://"), target.strip_prefix("https://"))
        {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => (false, "$"),
        };
        if rest.contains('$') || rest.starts_with("unix:") {
            self.apply(scope, route, None);
            route.status = Some(404);
            let why = "only fixed hosts by http:// and https:// are forwarded to: answered 404";
            return self.note(pass, why);
        }
        let split = rest.find('/').unwrap_or(rest.len());
        let (authority, uri) = rest.split_at(split);
        let tls = is_tls.then(|| {
            let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
            (scope.tls_name.clone().unwrap_or_else(|| host.to_owned()), scope.tls_verify)
        });
        let group = self.group_for(authority, tls);
        if let Some((retries, by)) = &scope.retries
            && self.is_first(by, &format!("retries of {group}"), &retries.to_string())
            && let Some(known) = self.raw.upstreams.iter_mut().find(|one| one.name == group)
        {
            known.retries = *retries;
        }
        route.upstream = Some(group);
        self.apply(scope, route, Some(authority));
        if let Some(rewrite) = rewrite {
            self.rewrite(route, rewrite);
        } else if !uri.is_empty() {
            self.replace(route, kind, pass, uri);
        }
    }

    /// The path that `proxy_pass` has takes the place of the location's.
    fn replace(&mut self, route: &mut Route, kind: Kind, pass: &Directive, uri: &str) {
        if uri.contains(['?', '#', '%', '*']) {
            return self.note(pass, "the path that replaces the location's is not a plain one");
        }
        match (kind, &route.path, &route.path_regex) {
            (Kind::Prefix, Some(path), _) if path == uri => {}
            (Kind::Prefix, ..) if uri == "/" => route.strip_prefix = true,
            (Kind::Prefix, ..) => route.replace_prefix = Some(uri.to_owned()),
            (Kind::Exact, ..) => {
                route.rewrite_regex = Some("^.*$".to_owned());
                route.rewrite_to = Some(uri.to_owned());
            }
            // Of `^~`: an expression of a fixed text.
            (Kind::Regex, _, Some(pattern)) if pass.arguments.len() == 1 => {
                route.rewrite_regex = Some(pattern.clone());
                route.rewrite_to = Some(uri.to_owned());
            }
            _ => self.note(pass, "has a path although the location is an expression"),
        }
    }

    fn rewrite(&mut self, route: &mut Route, rewrite: &Directive) {
        let [pattern, to, flag] = rewrite.arguments.as_slice() else {
            return self.note(rewrite, "only `break` stays in the location");
        };
        let is_plain = to.starts_with('/') && !to.contains(['?', '{']);
        let is_digit = |piece: &str| piece.starts_with(|next: char| next.is_ascii_digit());
        if flag != "break" || !is_plain || !to.split('$').skip(1).all(is_digit) {
            let why = "only `break` with a path and $1 to $9 is converted beside `proxy_pass`";
            return self.note(rewrite, why);
        }
        // nginx replaces the whole path, a route what matches.
        let whole = format!("^.*?(?:{pattern}).*$");
        if let Err(why) = check_expression(&whole) {
            return self.note(rewrite, why);
        }
        let mut replacement = String::new();
        for (index, piece) in to.split('$').enumerate() {
            if index == 0 {
                replacement.push_str(piece);
            } else {
                replacement.push_str(&format!("${{{}}}{}", &piece[..1], &piece[1..]));
            }
        }
        route.rewrite_regex = Some(whole);
        route.rewrite_to = Some(replacement);
    }

    /// A `rewrite` of every path to another address; `false` if it is not one.
    fn redirect(&mut self, scope: &Scope, route: &mut Route, rewrite: &Directive) -> bool {
        let status = match rewrite.argument(2) {
            "permanent" => 301,
            "redirect" => 302,
            _ => return self.refuse(rewrite, "only redirects stand without `proxy_pass`"),
        };
        let to = rewrite.argument(1);
        let (to, has_query) = match to.strip_suffix('?') {
            Some(to) => (to.to_owned(), false),
            None => (to.to_owned(), true),
        };
        let whole = if has_query { "$request_uri" } else { "$uri" };
        let to = match rewrite.argument(0) {
            "^(.*)$" | "^(.*)" | "(.*)" | "^(/.*)$" if to.ends_with("$1") => {
                format!("{}{whole}", to.trim_end_matches("$1"))
            }
            "^/(.*)$" | "^/(.*)" if to.ends_with("/$1") => {
                format!("{}{whole}", to.trim_end_matches("/$1"))
            }
            "^" | ".*" | "^.*$" | "^/" if !has_query => to,
            _ => return self.refuse(rewrite, "only a redirect of every path is converted"),
        };
        match template(&to, scope) {
            Ok(to) => {
                route.redirect = Some(to);
                route.status = Some(status);
                true
            }
            Err(why) => self.refuse(rewrite, &why),
        }
    }

    fn refuse(&mut self, directive: &Directive, why: &str) -> bool {
        self.note(directive, why);
        false
    }

    fn answer(&mut self, scope: &Scope, route: &mut Route, answer: &Directive) {
        let (first, second) = (answer.argument(0), answer.argument(1));
        let status = first.parse::<u16>().ok();
        let target = match status {
            None => Some(first),
            Some(301 | 302 | 303 | 307 | 308) if !second.is_empty() => Some(second),
            Some(_) => None,
        };
        if let Some(target) = target {
            match template(target, scope) {
                Ok(to) => {
                    route.redirect = Some(to);
                    route.status = Some(status.unwrap_or(302));
                }
                Err(why) => {
                    route.status = Some(404);
                    self.note(answer, format!("{why}: answered 404"));
                }
            }
            return;
        }
        let status = status.unwrap_or(404);
        let is_sendable = (200..=599).contains(&status) && status != 444;
        route.status = Some(if is_sendable { status } else { 404 });
        if !is_sendable {
            self.note(answer, "a request is always answered, here by 404");
        }
        if second.contains('$') {
            self.note(answer, "the text of a fixed answer has no variables; it is left out");
        } else if !second.is_empty() {
            route.body = Some(second.to_owned());
        }
    }
}

fn escaped(text: &str) -> String {
    let mut pattern = String::new();
    for letter in text.chars() {
        if !letter.is_ascii_alphanumeric() && !matches!(letter, '/' | '-' | '_') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

/// Whether the gateway takes `pattern`, or why not.
fn check_expression(pattern: &str) -> Result<(), String> {
    let zero = std::time::Duration::ZERO;
    let route = RouteSpec {
        name: "expression".to_owned(),
        hosts: Vec::new(),
        path: PathSpec::Regex(pattern.to_owned()),
        methods: Vec::new(),
        headers: Vec::new(),
        scheme: None,
        action: ActionSpec::Local,
        rewrite: RewriteSpec::default(),
        request_edits: EditSpec::default(),
        response_edits: EditSpec::default(),
        timeouts: Timeouts { connect: zero, send: zero, read: zero, total: None },
        body_bytes_max: None,
        is_logged: false,
        is_cached: false,
    };
    let table = TableSpec { routes: vec![route], ..TableSpec::default() };
    match truststram_proxy::check(&table).into_iter().next() {
        Some(fault) => Err(fault.message.lines().last().unwrap_or_default().to_owned()),
        None => Ok(()),
    }
}
