//! Units of the Compose Specification: bytes, times, permissions, words.

use std::net::IpAddr;
use std::time::Duration;

/// A number of bytes: `2b`, `300kb`, `64m`, `1.5GiB`, `1024`; each unit is 1,024 of the one before. -1 is no bound.
pub(super) fn bytes(text: &str) -> Result<i64, String> {
    let shown: String = text.chars().take(40).collect();
    let wrong = || format!("'{shown}' is no number of bytes; write it like 1024, 64k, 512m or 2gb");
    if let Ok(plain) = text.parse::<i64>() {
        return Ok(plain);
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
    let (number, unit) = text.split_at(end);
    let unit = unit.trim().to_ascii_lowercase();
    let unit = unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit);
    let shift = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return Err(wrong()),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || part.len() > 9 || !digits(part) {
        return Err(wrong());
    }
    let unit = 1_i128 << shift;
    let whole: i128 = whole.parse().map_err(|_| wrong())?;
    let scale = 10_i128.pow(u32::try_from(part.len()).unwrap_or(0));
    let part: i128 = if part.is_empty() { 0 } else { part.parse().map_err(|_| wrong())? };
    let all = whole.checked_mul(unit).and_then(|all| all.checked_add(part * unit / scale));
    all.and_then(|all| i64::try_from(all).ok()).ok_or_else(wrong)
}

/// A time as Go writes it: `1m30s`, `1.5s`, `500ms`.
pub(super) fn go_duration(time: Duration) -> String {
    let fraction = |value: u64, unit: u64| {
        let (whole, part) = (value / unit, value % unit);
        let digits = unit.ilog10();
        let part = format!("{part:0width$}", width = usize::try_from(digits).unwrap_or(0));
        let part = part.trim_end_matches('0');
        if part.is_empty() || digits == 0 { whole.to_string() } else { format!("{whole}.{part}") }
    };
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", fraction(nanos, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", fraction(nanos, 1_000_000)),
        _ => {
            let seconds = nanos / 1_000_000_000;
            let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
            let rest = format!("{}s", fraction(nanos - (seconds - seconds % 60) * 1_000_000_000, 1_000_000_000));
            match (hours, minutes) {
                (0, 0) => rest,
                (0, minutes) => format!("{minutes}m{rest}"),
                (hours, minutes) => format!("{hours}h{minutes}m{rest}"),
            }
        }
    }
}

/// Permissions. With a leading 0, or in quotes, the digits are octal; others are a decimal number, as in Compose.
pub(super) fn mode(text: &str, plain: bool) -> Result<u32, String> {
    let shown: String = text.chars().take(40).collect();
    let octal = text.strip_prefix("0o").or_else(|| text.strip_prefix('0').filter(|rest| !rest.is_empty()));
    let read = match octal {
        Some(digits) => u32::from_str_radix(digits, 8),
        None if plain => text.parse(),
        None => u32::from_str_radix(text, 8),
    };
    read.ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| format!("'{shown}' are no permissions; write them like 0440"))
}

/// An address; nothing where nothing is said.
pub(super) fn address(text: &str) -> Result<(), String> {
    let shown: String = text.chars().take(60).collect();
    match text.is_empty() || text.parse::<IpAddr>().is_ok() {
        true => Ok(()),
        false => Err(format!("'{shown}' is no address; write one like 10.0.0.5 or fd00::5")),
    }
}

/// A network of addresses; nothing where nothing is said.
pub(super) fn subnet(text: &str) -> Result<(), String> {
    let shown: String = text.chars().take(60).collect();
    let read = text.split_once('/').and_then(|(address, bits)| {
        let most = if address.parse::<IpAddr>().ok()?.is_ipv4() { 32 } else { 128 };
        bits.parse::<u8>().ok().filter(|bits| *bits <= most)
    });
    match text.is_empty() || read.is_some() {
        true => Ok(()),
        false => Err(format!("'{shown}' is no range of addresses; write one like 10.0.0.0/24 or fd00::/64")),
    }
}

/// A number as JSON has it.
pub(super) fn number(value: f64) -> String {
    serde_json::Number::from_f64(value).map_or_else(|| "0".to_owned(), |number| number.to_string())
}

/// Cuts a command into words as a shell would, without expanding anything.
pub(super) fn words(text: &str) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (Some('\''), c) => word.get_or_insert_default().push(c),
            (_, '\\') => match chars.next() {
                Some(next) => word.get_or_insert_default().push(next),
                None => return Err("ends in a backslash".to_owned()),
            },
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ' | '\t' | '\n' | '\r') => out.extend(word.take()),
            (None, ';' | '&' | '|' | '<' | '>') => {
                return Err(format!("'{c}' means something to a shell only, and no shell reads this"));
            }
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    if let Some(quote) = quote {
        return Err(format!("opens a quote {quote} that is never closed"));
    }
    out.extend(word);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_as_compose_reads_them() {
        for (text, value) in [
            ("0", 0),
            ("-1", -1),
            ("1024", 1_024),
            ("2b", 2),
            ("1k", 1_024),
            ("300kb", 307_200),
            ("64M", 67_108_864),
            ("1.5g", 1_610_612_736),
            ("2GiB", 2_147_483_648),
            ("1 gb", 1_073_741_824),
        ] {
            assert_eq!(bytes(text), Ok(value), "{text}");
        }
        for bad in ["", "m", "1x", "1.m.", "-2m", "9999999999999p", "1,5g"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_written_as_the_reference_writes_them() {
        for (millis, text) in [
            (0, "0s"),
            (500, "500ms"),
            (1_500, "1.5s"),
            (10_000, "10s"),
            (90_000, "1m30s"),
            (60_000, "1m0s"),
            (3_600_000, "1h0m0s"),
            (5_430_250, "1h30m30.25s"),
            (172_800_000, "48h0m0s"),
        ] {
            assert_eq!(go_duration(Duration::from_millis(millis)), text);
        }
        assert_eq!(go_duration(Duration::from_micros(1_500)), "1.5ms");
        assert_eq!(go_duration(Duration::from_nanos(1_500)), "1.5µs");
    }

    #[test]
    fn commands_are_cut_into_words() {
        let cut = |text| words(text).map(|words| words.join("|"));
        assert_eq!(cut("a  b\tc").as_deref(), Ok("a|b|c"));
        assert_eq!(
            cut(r#"nginx -g 'daemon off;' "a \"b\"" c\ d "" e"f"g"#).as_deref(),
            Ok(r#"nginx|-g|daemon off;|a "b"|c d||efg"#)
        );
        assert_eq!(words(""), Ok(Vec::new()));
        for bad in ["a; b", "a && b", "a | b", "a 'b", "a \"b", "a\\"] {
            assert!(words(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn permissions_are_octal_when_they_look_like_it() {
        assert_eq!(mode("0440", true), Ok(0o440));
        assert_eq!(mode("440", false), Ok(0o440));
        assert_eq!(mode("0o440", true), Ok(0o440));
        assert_eq!(mode("288", true), Ok(0o440));
        assert_eq!(mode("0", true), Ok(0));
        for bad in ["", "rw", "09", "99999"] {
            assert!(mode(bad, true).is_err(), "{bad}");
        }
    }
}
