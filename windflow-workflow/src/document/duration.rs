//! Durations as people write them: `1h30m`, `500ms`, `10s`.

use std::time::Duration;

/// Reads a duration: numbers with the units `d h m s ms us`, largest first, such as `1h30m`, `1.5s` or `500ms`.
///
/// ```
/// use std::time::Duration;
/// use windflow_workflow::document::parse_duration;
/// assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5_400)));
/// assert!(parse_duration("10").unwrap_err().contains("unit"));
/// ```
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 7] = [
        ("d", 86_400_000_000),
        ("h", 3_600_000_000),
        ("m", 60_000_000),
        ("s", 1_000_000),
        ("ms", 1_000),
        ("us", 1),
        ("µs", 1),
    ];
    let shown: String = text.chars().take(40).collect();
    let wrong = || format!("'{shown}' is not a duration");
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let (mut total, mut last) = (0_u64, u64::MAX);
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(|| format!("'{shown}' has no unit: write '{shown}s' for seconds, or use ms, m, h or d"))?;
        let (number, after) = rest.split_at(end);
        let length = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(length);
        let micros = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, micros)| *micros).ok_or_else(wrong)?;
        if micros >= last {
            return Err(format!("{}: the larger unit comes first, and each once", wrong()));
        }
        last = micros;
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || part.len() > 6 || part.contains('.') {
            return Err(wrong());
        }
        let fraction = if part.is_empty() {
            0
        } else {
            let scale = 10_u64.pow(u32::try_from(part.len()).unwrap_or(6));
            u64::try_from(
                u128::from(part.parse::<u64>().map_err(|_| wrong())?) * u128::from(micros) / u128::from(scale),
            )
            .unwrap_or(u64::MAX)
        };
        let add = whole.parse::<u64>().ok().and_then(|n| n.checked_mul(micros)).and_then(|n| n.checked_add(fraction));
        total = add.and_then(|n| total.checked_add(n)).ok_or_else(|| format!("'{shown}' is too long"))?;
        rest = next;
    }
    Ok(Duration::from_micros(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        let ms = |text| parse_duration(text).map(|d| d.as_millis());
        assert_eq!(ms("500ms"), Ok(500));
        assert_eq!(ms("10s"), Ok(10_000));
        assert_eq!(ms("1h30m"), Ok(5_400_000));
        assert_eq!(ms("1.5s"), Ok(1_500));
        assert_eq!(ms("2d"), Ok(172_800_000));
        assert_eq!(ms("1m30s500ms"), Ok(90_500));
        assert_eq!(ms("0"), Ok(0));
        for bad in
            ["", "10", "s", "10x", "1s1m", "1s1s", "-1s", "1..5s", "99999999999999999999s", "1,5s", "s10", "1.s.", "é"]
        {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
