//! A query without the secrets that signed addresses carry in it, as
//! OpenTelemetry's conventions ask of `url.query`.

/// Parameters whose values grant access.
const SECRETS: [&str; 9] = [
    "AWSAccessKeyId",
    "Signature",
    "sig",
    "X-Goog-Signature",
    "X-Amz-Signature",
    "X-Amz-Credential",
    "X-Amz-Security-Token",
    "access_token",
    "token",
];

/// The query with every secret's value replaced.
pub(super) fn redacted(query: &str) -> String {
    let mut text = String::with_capacity(query.len());
    for (index, parameter) in query.split('&').enumerate() {
        if index > 0 {
            text.push('&');
        }
        match parameter.split_once('=') {
            Some((name, _)) if SECRETS.iter().any(|secret| name.eq_ignore_ascii_case(secret)) => {
                text.push_str(name);
                text.push_str("=REDACTED");
            }
            _ => text.push_str(parameter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_values_of_secrets_are_replaced() {
        for (query, seen) in [
            ("", ""),
            ("a=1&b", "a=1&b"),
            ("sig=abc", "sig=REDACTED"),
            ("a=1&SIG=a=b&&c", "a=1&SIG=REDACTED&&c"),
            ("x-amz-signature=0&signatures=1", "x-amz-signature=REDACTED&signatures=1"),
            ("sig", "sig"),
        ] {
            assert_eq!(redacted(query), seen, "{query}");
        }
    }
}
