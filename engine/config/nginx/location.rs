//! Owns `location` blocks: one route for each, and for what `limit_except` shuts out.
//!
//! Refuses to leave out a location that nothing could be made of: it is answered 404, so that no
//! other one takes its requests. Bound: two routes for each location.

use super::http::Conversion;
use super::parse::Directive;
use super::passing::check_expression;
use super::protect::protects;
use super::proxy::{Scope, template};
use crate::config::raw::Route;

/// What a location's pattern is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
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
            self.guard(scope, &mut route);
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
    ) -> Vec<Route> {
        let mut route = Route { name: name.to_owned(), ..Route::default() };
        let Some(kind) = self.pattern(block, &mut route, has_regexes) else {
            if protects(block) {
                self.weakens(block, "whom it refuses, other locations would let in");
            }
            return Vec::new();
        };
        let mut scope = outer.child();
        let (mut pass, mut answer, mut rewrite, mut except) = (None, None, None, None);
        let mut inner = Vec::new();
        for directive in block.inside() {
            match directive.name.as_str() {
                "proxy_pass" => pass = Some(directive),
                "return" if answer.is_none() => answer = Some(directive),
                "rewrite" if rewrite.is_none() => rewrite = Some(directive),
                "limit_except" => except = Some(directive),
                "location" => inner.push(directive),
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
                    self.guard(&scope, &mut route);
                    self.note(block, "has no answer that could be converted: it is answered 404");
                }
            }
        }
        let mut routes = Vec::new();
        if let Some(except) = except {
            routes.push(self.other_methods(&mut route, except));
        }
        routes.push(route);
        for block in inner {
            routes.extend(self.inner(block, &scope, kind, name, has_regexes));
        }
        routes
    }

    /// A location in a location: a route beside it, where its path alone chooses it.
    fn inner(
        &mut self,
        block: &Directive,
        scope: &Scope,
        outer: Kind,
        name: &str,
        has_regexes: bool,
    ) -> Vec<Route> {
        if outer != Kind::Regex && !block.argument(0).starts_with('~') {
            let server = name.split(' ').next().unwrap_or_default();
            let name = format!("{server} {}", block.arguments.join(" "));
            return self.location(block, scope, &name, has_regexes);
        }
        if protects(block) {
            self.weakens(block, "whom it refuses, the location around it would let in");
        } else {
            let why = "an expression inside a location has no counterpart; its requests go by the \
                       location around it";
            self.note(block, why);
        }
        Vec::new()
    }

    fn pattern(&mut self, block: &Directive, route: &mut Route, regexes: bool) -> Option<Kind> {
        let (sign, text) = match block.arguments.as_slice() {
            [sign, text] => (sign.as_str(), text.as_str()),
            [text] => ("", text.as_str()),
            _ => ("", ""),
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
                    let where_to = "its requests go where the other locations send them";
                    self.note(block, format!("{why}; {where_to}"));
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
            "" if text.starts_with('@') => {
                self.note(block, "is reached by directives that have no counterpart");
                None
            }
            _ => {
                let why = "is not a path or an expression for paths; its requests go where the \
                           other locations send them";
                self.note(block, why);
                None
            }
        }
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
