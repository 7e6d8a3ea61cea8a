//! Owns `proxy_pass` and `rewrite`: where a location leads, and by which path.
//!
//! Refuses what depends on variables. Bound: one group for each address.

use truststram_proxy::{
    ActionSpec, CacheRuleSpec, EditSpec, PathSpec, RewriteSpec, RouteAuth, RoutePriority,
    RouteSpec, TableSpec, Timeouts, UseSpec,
};

use super::http::Conversion;
use super::location::Kind;
use super::parse::Directive;
use super::proxy::{Scope, template};
use crate::config::raw::Route;

impl Conversion {
    pub(super) fn pass(
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
            self.guard(scope, route);
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
        self.guard(scope, route);
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
    pub(super) fn redirect(
        &mut self,
        scope: &Scope,
        route: &mut Route,
        rewrite: &Directive,
    ) -> bool {
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
}

/// Whether the gateway takes `pattern`, or why not.
pub(super) fn check_expression(pattern: &str) -> Result<(), String> {
    check_route(|route| route.path = PathSpec::Regex(pattern.to_owned()))
}

/// Whether the gateway takes a route that is plain but for this change, or why not.
pub(super) fn check_route(change: impl FnOnce(&mut RouteSpec)) -> Result<(), String> {
    let zero = std::time::Duration::ZERO;
    let mut route = RouteSpec {
        name: "plain".to_owned(),
        hosts: Vec::new(),
        path: PathSpec::Prefix("/".to_owned()),
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
        cache_rules: CacheRuleSpec::default(),
        auth: RouteAuth::default(),
        priority: RoutePriority::Normal,
        limits: UseSpec::default(),
    };
    change(&mut route);
    let table = TableSpec { routes: vec![route], ..TableSpec::default() };
    match truststram_proxy::check(&table).into_iter().next() {
        Some(fault) => Err(fault.message.lines().last().unwrap_or_default().to_owned()),
        None => Ok(()),
    }
}
