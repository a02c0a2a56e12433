//! One value: from what was typed to what is meant.
//!
//! Each function takes a [`Given`] and answers with the value or with what is
//! wrong and the fix, in one sentence. None of them sees more than its value.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use bytesize::ByteSize;
use http::uri::PathAndQuery;
use ipnet::IpNet;
use jiff::SignedDuration;
use toml::de::DeValue;

use super::Given;
use super::section::nearest;
use crate::ids::{Domain, Label};

/// What is wrong with a value; the fix.
pub(super) type Wrong = String;

const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// A timer counts milliseconds.
const SHORTEST: Duration = Duration::from_millis(1);

pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;

/// A time above zero.
pub(super) fn duration(given: &Given<'_>) -> Result<Duration, Wrong> {
    match duration_or_zero(given)? {
        duration if duration < SHORTEST => {
            Err(format!("{} is too short; give 1ms to 24h", found(given.value)))
        }
        duration => Ok(duration),
    }
}

/// A time, or none.
pub(super) fn duration_or_zero(given: &Given<'_>) -> Result<Duration, Wrong> {
    if let Some(number) = number(given) {
        return Err(format!(
            "{} has no unit; write \"{}s\" for seconds",
            found(given.value),
            number.unsigned_abs()
        ));
    }
    let text = text(given, "a duration such as \"250ms\", \"10s\" or \"1h 30m\"")?;
    let Ok(parsed) = text.trim().parse::<SignedDuration>() else {
        return Err(format!(
            "{} is no duration; write one such as \"250ms\", \"10s\", \"5m\" or \"1h 30m\"",
            found(given.value)
        ));
    };
    match Duration::try_from(parsed) {
        Err(_) => Err(format!("{} is negative; give at most 24h", found(given.value))),
        Ok(duration) if duration > LONGEST => {
            Err(format!("{} is too long; give at most 24h", found(given.value)))
        }
        Ok(duration) => Ok(duration),
    }
}

/// A number of bytes within `range`.
pub(super) fn size(given: &Given<'_>, range: &RangeInclusive<u64>) -> Result<u64, Wrong> {
    let bytes = match number(given) {
        // Nothing that a number can say is larger than the largest maximum.
        Some(number) if number >= 0 => u64::try_from(number).unwrap_or(u64::MAX),
        Some(_) => return Err(format!("{} is negative; {}", found(given.value), bounds(range))),
        None => {
            let text = text(given, "a size such as \"32KiB\" or a number of bytes")?;
            let ByteSize(bytes) = text.trim().parse().map_err(|_| no_size(given))?;
            // "0.1B" must not become the 0 that means no limit.
            if bytes == 0 && text.contains(|c| ('1'..='9').contains(&c)) {
                return Err(no_size(given));
            }
            bytes
        }
    };
    if range.contains(&bytes) {
        return Ok(bytes);
    }
    Err(format!("{} is out of range; {}", found(given.value), bounds(range)))
}

fn no_size(given: &Given<'_>) -> Wrong {
    format!("{} is no size; write one such as \"32KiB\", \"10MB\" or \"0\"", found(given.value))
}

fn bounds(range: &RangeInclusive<u64>) -> String {
    format!("give {} to {}", bytes(*range.start()), bytes(*range.end()))
}

/// A size as a person writes it.
pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        exa if exa.is_multiple_of(1 << 60) => format!("{}EiB", exa >> 60),
        mega if mega.is_multiple_of(MIB) => format!("{}MiB", mega / MIB),
        kilo if kilo.is_multiple_of(KIB) => format!("{}KiB", kilo / KIB),
        bytes => format!("{bytes}B"),
    }
}

/// A whole number within `range`.
pub(super) fn count<T>(given: &Given<'_>, range: &RangeInclusive<T>) -> Result<T, Wrong>
where
    T: TryFrom<i128> + PartialOrd + std::fmt::Display,
{
    let bounds = || format!("give {} to {}", range.start(), range.end());
    let Some(number) = number(given) else {
        let hint = if given.is_variable() { "" } else { ", without quotes" };
        return Err(format!(
            "expected a whole number, found {}; {}{hint}",
            found(given.value),
            bounds()
        ));
    };
    T::try_from(number)
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("{} is out of range; {}", found(given.value), bounds()))
}

/// A share from 0 to 1.
pub(super) fn share(given: &Given<'_>) -> Result<f64, Wrong> {
    let share = match given.value {
        DeValue::Float(float) => float.as_str().parse().ok(),
        DeValue::Integer(integer) => integer.as_str().parse().ok(),
        DeValue::String(text) if given.is_variable() => text.parse().ok(),
        _ => None,
    };
    share.filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| {
        format!("expected a share from 0 to 1, found {}; write 0.1 for a tenth", found(given.value))
    })
}

/// `true` or `false`.
pub(super) fn boolean(given: &Given<'_>) -> Result<bool, Wrong> {
    given.value.as_bool().ok_or_else(|| {
        format!("expected true or false, found {}; write it without quotes", found(given.value))
    })
}

/// One of a few words.
pub(super) fn choice<T: Copy>(given: &Given<'_>, choices: &[(&str, T)]) -> Result<T, Wrong> {
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let all = names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    let typed = text(given, &format!("one of {all}"))?;
    if let Some((_, value)) = choices.iter().find(|(name, _)| *name == typed) {
        return Ok(*value);
    }
    let fix = nearest(typed, &names).map_or_else(
        || format!("give one of {all}"),
        |near| format!("did you mean \"{near}\"? Give one of {all}"),
    );
    Err(format!("{} is not known; {fix}", found(given.value)))
}

/// A domain name.
pub(super) fn domain(given: &Given<'_>) -> Result<Domain, Wrong> {
    let text = text(given, "a domain name such as \"ignite.dodil.cloud\"")?;
    text.parse().map_err(|error| format!("{error}"))
}

/// An app's or an organization's name.
pub(super) fn label(given: &Given<'_>) -> Result<Label, Wrong> {
    text(given, "a name such as \"acme\"")?.parse().map_err(|error| format!("{error}"))
}

/// An address to bind, with its port.
pub(super) fn address(given: &Given<'_>) -> Result<SocketAddr, Wrong> {
    let text = text(given, "an address such as \"0.0.0.0:8080\" or \"[::]:8080\"")?;
    text.parse().map_err(|_| no_address(text))
}

/// An address at which an app listens.
pub(super) fn endpoint(given: &Given<'_>) -> Result<SocketAddr, Wrong> {
    let text = text(given, "an address such as \"127.0.0.1:3000\" or \"[::1]:3000\"")?;
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => {
            Err(format!("`{}` has port 0; give the port on which the app listens", short(text)))
        }
        Ok(address) => Ok(address),
        Err(_) => Err(no_address(text)),
    }
}

/// Says what an address lacks.
fn no_address(text: &str) -> Wrong {
    let shown = short(text);
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        let example = SocketAddr::new(ip, 8080);
        return format!("`{shown}` has no port; write one, e.g. \"{example}\"");
    }
    if let Some((scheme, _)) = text.split_once("://") {
        return format!("`{shown}` is a URL; write the address without `{}://`", short(scheme));
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    if host.parse::<Domain>().is_ok() && host.contains(|c: char| c.is_ascii_alphabetic()) {
        let port = if port.parse::<u16>().is_ok() { port } else { "8080" };
        return format!(
            "`{shown}` is a host name, and an address is needed; write e.g. \"127.0.0.1:{port}\""
        );
    }
    format!("`{shown}` is no address; write e.g. \"127.0.0.1:8080\" or \"[::1]:8080\"")
}

/// A network, or a single address.
pub(super) fn network(given: &Given<'_>) -> Result<IpNet, Wrong> {
    let text = text(given, "a network such as \"10.0.0.0/8\" or an address")?;
    let shown = short(text);
    let network =
        text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(
            |_| format!("`{shown}` is no network; write e.g. \"10.0.0.0/8\" or \"10.1.2.3\""),
        )?;
    if network != network.trunc() {
        let (whole, one) = (network.trunc(), network.addr());
        return Err(format!(
            "`{shown}` has bits beyond its prefix; write \"{whole}\", or \"{one}\" for one address"
        ));
    }
    Ok(network)
}

/// A path that can stand in a request line.
pub(super) fn path(given: &Given<'_>) -> Result<String, Wrong> {
    let text = text(given, "a path such as \"/healthz\"")?;
    if !text.starts_with('/') {
        return Err(format!("{} is no path; begin it with `/`", found(given.value)));
    }
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || !c.is_ascii() || c == '#';
    if let Some(c) = text.chars().find(|c| forbidden(*c)) {
        return Err(format!("{c:?} cannot stand in a path; percent-encode it or leave it out"));
    }
    if text.parse::<PathAndQuery>().is_err() {
        return Err(format!(
            "{} holds a character that no path may; percent-encode it",
            found(given.value)
        ));
    }
    Ok(text.to_owned())
}

/// A text; `expected` says which kind, with an example.
pub(super) fn text<'a>(given: &Given<'a>, expected: &str) -> Result<&'a str, Wrong> {
    given
        .value
        .as_str()
        .ok_or_else(|| format!("found {}; write {expected}, in quotes", found(given.value)))
}

/// An integer, or a variable's text that is one.
fn number(given: &Given<'_>) -> Option<i128> {
    match given.value {
        DeValue::Integer(integer) => {
            // Digits beyond 128 bits are out of any range, and must not be taken for no number.
            let negative = integer.as_str().starts_with('-');
            let limit = if negative { i128::MIN } else { i128::MAX };
            Some(i128::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(limit))
        }
        DeValue::String(text) if given.is_variable() => text.parse().ok(),
        _ => None,
    }
}

/// A value as an error shows it.
pub(super) fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("\"{}\"", short(text)),
        DeValue::Integer(integer) => format!("the number {}", short(&integer.to_string())),
        DeValue::Float(float) => format!("the number {}", short(float.as_str())),
        DeValue::Boolean(boolean) => boolean.to_string(),
        DeValue::Datetime(time) => format!("the time {time}"),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// Text cut to what a line of a terminal bears.
fn short(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
