//! What somebody may have meant: of several names the one that is least different from a mistyped one.

/// The nearest of the candidates, if one is near enough to be what was meant.
pub fn nearest(wanted: &str, candidates: impl IntoIterator<Item = String>) -> Option<String> {
    // One letter in three may be wrong: `apline` is `alpine`, but `alpine` is not `debian`.
    let limit = wanted.chars().count().div_ceil(3);
    let near = candidates.into_iter().filter(|name| name.len() <= MAX_LENGTH && name != wanted);
    let measured = near.map(|name| (distance(wanted, &name), name)).filter(|(distance, _)| *distance <= limit);
    measured.min().map(|(_, name)| name)
}

/// Longer names are not compared: the effort grows with the product of both lengths.
const MAX_LENGTH: usize = 256;

/// How many letters must be changed, put in, left out, or swapped with their neighbour to make one word of the other
/// (the Damerau-Levenshtein distance, in its restricted form).
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    // `rows[i][j]`: from the first `i` letters of the one to the first `j` of the other.
    let mut rows = vec![(0..=to.len()).collect::<Vec<_>>()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let changed = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut best = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_near_and_another_word_is_not() {
        let of = |wanted: &str, names: &[&str]| nearest(wanted, names.iter().map(|name| name.to_string()));
        assert_eq!(of("apline", &["busybox", "alpine", "debian"]).as_deref(), Some("alpine"));
        assert_eq!(of("busibox", &["busybox"]).as_deref(), Some("busybox"));
        assert_eq!(of("3.20", &["3.2", "3.21", "latest"]).as_deref(), Some("3.2"));
        assert_eq!(of("alpine", &["debian", "busybox", "alpine"]), None);
        assert_eq!(of("x", &[]), None);
        assert_eq!(of("", &["a"]), None);
    }

    #[test]
    fn each_kind_of_slip_counts_once() {
        for (from, to, expected) in [
            ("ab", "ba", 1),
            ("ab", "abc", 1),
            ("ab", "b", 1),
            ("ab", "xb", 1),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("é", "e", 1),
        ] {
            assert_eq!(distance(from, to), expected, "{from} {to}");
            assert_eq!(distance(to, from), expected, "{to} {from}");
        }
    }
}
