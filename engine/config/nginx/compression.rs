//! Owns `gzip`, `brotli`, `zstd` and their families.
//!
//! Refuses settings of single locations: the section `compression` holds for all. Bound: one
//! section.

use super::http::Conversion;
use super::parse::Directive;
use super::units;

/// nginx's `gzip_min_length` and `gzip_comp_level` where they are not given.
const BYTES_MIN: u64 = 20;
const LEVEL: u32 = 1;

impl Conversion {
    /// A directive of the one compression; `false` if it is none of those converted.
    pub(super) fn compression(&mut self, directive: &Directive) -> bool {
        let Some((family, setting)) = parts(&directive.name) else { return false };
        let first = directive.argument(0);
        let key = format!("compression {}", directive.name);
        match setting {
            "" => self.switch(directive, family),
            "types" => {
                // nginx always compresses text/html.
                let all = [vec!["text/html".to_owned()], directive.arguments.clone()].concat();
                if self.is_first(directive, "compression.types", &all.join(" ")) {
                    self.raw.compression.types = all;
                }
            }
            "min_length" => match units::bytes(first) {
                Some(bytes) => {
                    if self.is_first(directive, "compression.bytes_min", first) {
                        self.raw.compression.bytes_min = bytes;
                    }
                }
                None => self.note(directive, "is not a size"),
            },
            "comp_level" => match first.parse() {
                Ok(level) if self.is_first(directive, &key, first) => {
                    *self.level(family) = level;
                }
                Ok(_) => {}
                Err(_) => self.note(directive, "is not a level"),
            },
            "vary" if first == "on" => {}
            "vary" => self.note(directive, "answers always say `Vary: Accept-Encoding`"),
            _ => return false,
        }
        true
    }

    fn level(&mut self, family: &str) -> &mut u32 {
        let compression = &mut self.raw.compression;
        match family {
            "gzip" => &mut compression.gzip_level,
            "br" => &mut compression.brotli_level,
            _ => &mut compression.zstd_level,
        }
    }

    fn switch(&mut self, directive: &Directive, family: &str) {
        let first = directive.argument(0);
        if !self.is_first(directive, &format!("compression by {family}"), first) || first != "on" {
            return;
        }
        if self.raw.compression.encodings.is_empty() {
            // What the file does not say is as nginx has it.
            if !self.is_known("compression.types") {
                self.raw.compression.types = vec!["text/html".to_owned()];
            }
            if !self.is_known("compression.bytes_min") {
                self.raw.compression.bytes_min = BYTES_MIN;
            }
        }
        if family == "gzip" && !self.is_known("compression gzip_comp_level") {
            self.raw.compression.gzip_level = LEVEL;
        }
        self.raw.compression.encodings.push(family.to_owned());
    }
}

/// The coding and the setting of it that a directive is about.
fn parts(name: &str) -> Option<(&'static str, &str)> {
    let families = [("gzip", "gzip"), ("brotli", "br"), ("zstd", "zstd")];
    families.into_iter().find_map(|(start, family)| {
        let rest = name.strip_prefix(start)?;
        Some((family, rest.strip_prefix('_').unwrap_or(rest)))
    })
}
