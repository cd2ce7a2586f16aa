//! The engine's way to write moments.

use windflow_core::Timestamp;

/// Reads `2026-11-25T10:00:00.123456789Z`, also with an offset. The engine's word for never is the year 1.
pub(crate) fn parse_moment(text: &str) -> Option<Timestamp> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let rest = text.get(19..)?;
    let digits = rest.strip_prefix('.').map_or(0, |part| part.bytes().take_while(u8::is_ascii_digit).count());
    let millis = match digits {
        0 => 0,
        _ => format!("{:0<3}", &rest[1..=digits]).get(..3)?.parse::<i64>().ok()?,
    };
    let zone = &rest[if digits == 0 { 0 } else { digits + 1 }..];
    let offset = match zone.as_bytes() {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), ..] if zone.len() == 6 => {
            let minutes = zone.get(1..3)?.parse::<i64>().ok()? * 60 + zone.get(4..6)?.parse::<i64>().ok()?;
            if *sign == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    // Days since 1970 in the civil calendar, after Howard Hinnant.
    let (y, m) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let era = y / 400;
    let of_era = y - era * 400;
    let of_year = (153 * m + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset * 60;
    u64::try_from(seconds * 1_000 + millis).ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_to_the_millisecond() {
        let read = |text: &str| parse_moment(text).map(|at| at.to_string());
        assert_eq!(read("2026-11-22T00:00:00Z").as_deref(), Some("2026-11-22T00:00:00.000Z"));
        assert_eq!(read("2000-02-29T12:34:56.789123456Z").as_deref(), Some("2000-02-29T12:34:56.789Z"));
        assert_eq!(read("2000-02-29T12:34:56.7+01:30").as_deref(), Some("2000-02-29T11:04:56.700Z"));
        assert_eq!(read("0001-01-01T00:00:00Z"), None);
        assert_eq!(read("yesterday"), None);
    }
}
