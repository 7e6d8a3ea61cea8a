//! Owns the reading of a policy's settings.
//!
//! Refuses to know which settings there are. Bound: one JSON object.

use serde::de::DeserializeOwned;

/// Reads the text of one JSON object.
///
/// # Errors
/// What is wrong, in words for the operator.
pub fn parse<T: DeserializeOwned>(json: &str) -> Result<T, String> {
    // serde would also read a list, as the settings in the order of their declaration.
    if !json.trim_start().starts_with('{') {
        return Err("the settings must be one JSON object".to_owned());
    }
    serde_json::from_str(json).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        #[serde(rename = "wait_us")]
        _wait_us: Option<u32>,
    }

    #[test]
    fn settings_that_are_refused() {
        let check = |json: &str, expected: &str| {
            let message = parse::<Settings>(json).unwrap_err();
            assert!(message.contains(expected), "{json}: {message}");
        };
        check("", "one JSON object");
        check("[1]", "one JSON object");
        check(r#"{"wait_us": 1"#, "EOF");
        check(r#"{"wait": 1}"#, "unknown field `wait`");
        check(r#"{"wait_us": -1}"#, "invalid value");
        check(r#"{"wait_us": "1"}"#, "invalid type");
        check("{} {}", "trailing characters");
        assert!(parse::<Settings>("{}").is_ok());
    }
}
