//! How values of settings are written: in words that they could be given again.

use std::{fmt::Display, path::Path, time::Duration};

/// The largest unit that leaves no fraction; none is smaller than a microsecond.
pub(super) fn duration(value: Duration) -> String {
    let micros = value.as_micros();
    let units = [(3_600_000_000, "h"), (60_000_000, "m"), (1_000_000, "s"), (1000, "ms")];
    units.iter().find(|(unit, _)| micros.is_multiple_of(*unit)).map_or_else(
        || format!("{micros}us"),
        // Zero is a multiple of all of them.
        |(unit, name)| {
            if micros == 0 { "0s".to_owned() } else { format!("{}{name}", micros / unit) }
        },
    )
}

/// Entries with commas between them.
pub(super) fn list<T: Display>(entries: &[T]) -> String {
    entries.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}

/// Nothing where there is none.
pub(super) fn option<T: Display>(value: Option<&T>) -> String {
    value.map_or_else(String::new, T::to_string)
}

/// Nothing where there is none.
pub(super) fn path(value: Option<&impl AsRef<Path>>) -> String {
    value.map_or_else(String::new, |path| path.as_ref().display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_take_the_largest_unit() {
        for (micros, text) in [
            (0, "0s"),
            (1, "1us"),
            (1_500, "1500us"),
            (1_500_000, "1500ms"),
            (90_000_000, "90s"),
            (120_000_000, "2m"),
            (7_200_000_000, "2h"),
        ] {
            assert_eq!(duration(Duration::from_micros(micros)), text);
        }
    }
}
