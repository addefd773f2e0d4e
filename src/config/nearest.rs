//! The nearest name to a misspelt one.

/// The candidate that a misspelt `word` most likely meant; None when none is near. Ties go to the first.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let word = plain(word);
    let distance_max = (word.len() / 3).max(1);
    let near = candidates.into_iter().map(|candidate| (distance(&word, &plain(candidate)), candidate));
    near.filter(|(distance, _)| *distance <= distance_max).min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// How many letters must be put in, taken out, exchanged or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(LETTERS_MAX).collect(), b.chars().take(LETTERS_MAX).collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// Longer words are compared by their beginning, so that a hostile file cannot make the comparison slow.
const LETTERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant_and_nothing_far_fetched() {
        let keys = ["listen", "listen_tls", "metrics", "segment_write_key", "rudderstack_write_key"];
        let table = [
            ("lisen", Some("listen")),
            ("rudderstack_writekey", Some("rudderstack_write_key")),
            ("segment-write-key", Some("segment_write_key")),
            ("metrisc", Some("metrics")),
            ("LISTEN", Some("listen")),
            ("banana", None),
            ("", None),
        ];
        for (word, want) in table {
            assert_eq!(nearest(word, keys), want, "{word}");
        }
    }
}
