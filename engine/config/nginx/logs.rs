//! Owns `log_format`, and which of them the access log has.
//!
//! Refuses a second format: ours is one. Bound: one text.

use truststram_proxy::unknown_variable;

use super::http::Conversion;
use super::parse::Directive;

impl Conversion {
    pub(super) fn define_format(&mut self, directive: &Directive) {
        self.formats.insert(directive.argument(0).to_owned(), directive.clone());
    }

    /// Takes over the format that an `access_log` names.
    pub(super) fn log_format(&mut self, directive: &Directive) {
        let mut words = directive.arguments.iter().skip(1);
        let name = words.next().map_or("combined", String::as_str);
        for word in words {
            self.note(directive, format!("`{word}` has no counterpart"));
        }
        if !self.is_first(directive, "access_log_format", name) {
            return;
        }
        let Some(format) = self.formats.get(name).cloned() else {
            if name != "combined" {
                self.note(directive, "there is no such `log_format`: combined");
            }
            return "combined".clone_into(&mut self.raw.gateway.access_log_format);
        };
        let mut parts = &format.arguments[1..];
        let mut escape = "default";
        if let Some((first, rest)) = parts.split_first()
            && let Some(kind) = first.strip_prefix("escape=")
        {
            (escape, parts) = (kind, rest);
        }
        let mut text = parts.concat();
        // Each has at least one letter less than it had.
        while let Some(name) = unknown_variable(&text) {
            self.note(&format, format!("`${name}` is not known here: `-` stands in its place"));
            text = text.replace(&format!("${{{name}}}"), "-");
            let whole = format!("${name}");
            let mut kept = String::new();
            let mut rest = text.as_str();
            while let Some((before, after)) = rest.split_once(&whole) {
                let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
                let is_longer = after.as_bytes().first().is_some_and(is_word);
                kept.push_str(before);
                kept.push_str(if is_longer { &whole } else { "-" });
                rest = after;
            }
            kept.push_str(rest);
            text = kept;
        }
        if !text.contains('$') || text.contains('\n') {
            return self.note(&format, "is not one line with a variable: lines are JSON");
        }
        let gateway = &mut self.raw.gateway;
        gateway.access_log_format = text;
        escape.clone_into(&mut gateway.access_log_escape);
    }

    /// Notes the formats that nothing uses.
    pub(super) fn end_formats(&mut self) {
        let used = self.used_format();
        let mut formats: Vec<Directive> = std::mem::take(&mut self.formats).into_values().collect();
        formats.retain(|format| Some(format.argument(0)) != used.as_deref());
        formats
            .iter()
            .for_each(|format| self.note(format, "no `access_log` that was converted has it"));
    }
}
