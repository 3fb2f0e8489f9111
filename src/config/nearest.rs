//! Suggests the name that a misspelled one was meant to be.

/// Most edits between a misspelled name and a suggestion.
const EDITS_MAX: usize = 3;

/// The candidate nearest to `name`, if near enough.
pub(crate) fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', '.'], "_");
    let wanted = plain(name);
    candidates
        .into_iter()
        .map(|candidate| (edits(&wanted, &plain(candidate)), candidate))
        // At most a third of a short name may differ, or everything would be near it.
        .filter(|(edits, candidate)| *edits <= EDITS_MAX.min(candidate.len().div_ceil(3)))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// The Levenshtein distance: insertions, deletions and replacements of characters.
fn edits(from: &str, to: &str) -> usize {
    // The cost is the product of both lengths, so long names are skipped.
    const CHARS_MAX: usize = 100;
    let to: Vec<char> = to.chars().take(CHARS_MAX).collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().take(CHARS_MAX).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_names_are_suggested() {
        let keys = ["bootstrap_servers", "delivery", "properties", "slot", "url"];
        let meant = |name| nearest(name, keys);
        assert_eq!(meant("bootstrap-servers"), Some("bootstrap_servers"));
        assert_eq!(meant("bootstrap.server"), Some("bootstrap_servers"));
        assert_eq!(meant("Delivry"), Some("delivery"));
        assert_eq!(meant("slots"), Some("slot"));
        assert_eq!(meant("uri"), Some("url"));
        assert_eq!(nearest("kafak", ["kafka", "relay"]), Some("kafka"));
        assert_eq!(meant("key"), None);
        assert_eq!(meant(""), None);
        assert_eq!(meant(&"x".repeat(1_000_000)), None);
    }

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("abc", "abc"), 0);
    }
}
